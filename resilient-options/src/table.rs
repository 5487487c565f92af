//! The macro that defines a table of settings.
//!
//! ```text
//! /// Description.
//! option as field: takes(range) = default, "option = example" [names of other libraries] {
//!     .. options in its parentheses ..
//! }
//! ```
//!
//! `as field` is omitted if the setting has the same name as the option. `takes` is one of
//!
//! | | |
//! |---|---|
//! | `time("1s", "1h")` | a duration in this range |
//! | `span("1h")` | a duration greater than zero and at most this |
//! | `limit("1h")` | the same, or `none` |
//! | `count(1, 9, "calls")` | a whole number in this range |
//! | `number(1.0, 9.0)`, `number(1.0, 9.0, "percent")` | a number in this range |
//! | `share`, `share(0.1)` | a ratio from 0, or from this value, to 1 |
//! | `some` | a ratio greater than 0 |
//! | `word("a", "b")` | one of these words |
//! | `window`, `rate`, `name`, `flag` | |
//! | `switch` | a flag that exists only in settings, not in the attribute |
//! | `code`, `group` | exist only in the attribute |
//!
//! A table `circuit_breaker` generates `circuit_breaker::TABLE`, the modules that editors complete, and the macro
//! `circuit_breaker!(field)`, which expands to the documentation of a field as a literal.

macro_rules! table {
    (
        $name:ident: $argument:literal;
        $(
            $(#[doc = $about:literal])+
            $option:ident $(as $field:ident)?: $takes:ident $(($($range:tt)*))? $(= $default:tt)?, $form:literal
            $([$($alias:ident)*])?
            $({
                $(
                    $(#[doc = $inner_about:literal])+
                    $inner:ident $(as $inner_field:ident)?: $inner_takes:ident $(($($inner_range:tt)*))?
                        $(= $inner_default:tt)?, $inner_form:literal
                    $([$($inner_alias:ident)*])?
                )*
            })?
        )*
        $(remedies {
            $($group:literal [$($word:ident)*] $text:expr;)*
        })?
    ) => {
        /// The settings of this kind.
        pub const TABLE: $crate::Table = $crate::Table {
            kind: stringify!($name),
            argument: $argument,
            settings: &[
                $(
                    $crate::Setting {
                        field: field!($takes $option $($field)?),
                        option: option!($takes $option),
                        group: "",
                        takes: takes!($takes $(($($range)*))?),
                        default: default!($takes $($default)?),
                        form: $form,
                        about: concat!($($about),+).trim_ascii_start(),
                        aliases: &[$($(stringify!($alias)),*)?],
                    },
                    $($(
                        $crate::Setting {
                            field: field!($inner_takes $inner $($inner_field)?),
                            option: stringify!($inner),
                            group: stringify!($option),
                            takes: takes!($inner_takes $(($($inner_range)*))?),
                            default: default!($inner_takes $($inner_default)?),
                            form: $inner_form,
                            about: concat!($($inner_about),+).trim_ascii_start(),
                            aliases: &[$($(stringify!($inner_alias)),*)?],
                        },
                    )*)?
                )*
            ],
            remedies: &[$($(
                $crate::Remedy { group: $group, words: &[$(stringify!($word)),*], text: $text },
            )*)?],
        };

        /// Modules that an editor completes inside the attribute.
        #[doc(hidden)]
        pub mod complete {
            $(
                module! {
                    $takes
                    #[doc = concat!(
                        "`", $form, "`:", $($about),+,
                        $crate::range_text!($takes $(($($range)*))?), $crate::default_text!($($default)?)
                    )]
                    pub mod $option {
                        $($(
                            #[doc = concat!(
                                "`", $inner_form, "`:", $($inner_about),+,
                                $crate::range_text!($inner_takes $(($($inner_range)*))?),
                                $crate::default_text!($($inner_default)?)
                            )]
                            pub mod $inner {}
                        )*)?
                    }
                }
            )*
        }

        /// Expands to the documentation of a field.
        #[doc(hidden)]
        #[macro_export]
        macro_rules! $name {
            $(
                ($option) => {
                    concat!(
                        $($about),+,
                        $crate::range_text!($takes $(($($range)*))?), $crate::default_text!($($default)?)
                    )
                };
                $(($field) => { $crate::$name!($option) };)?
                $($(
                    ($option $inner) => {
                        concat!(
                            $($inner_about),+,
                            $crate::range_text!($inner_takes $(($($inner_range)*))?),
                            $crate::default_text!($($inner_default)?)
                        )
                    };
                    $(($inner_field) => { $crate::$name!($option $inner) };)?
                    ($inner) => { $crate::$name!($option $inner) };
                )*)?
            )*
            () => { "" };
        }
    };
}

macro_rules! field {
    (code $option:ident) => {
        ""
    };
    (group $option:ident) => {
        ""
    };
    ($takes:ident $option:ident) => {
        stringify!($option)
    };
    ($takes:ident $option:ident $field:ident) => {
        stringify!($field)
    };
}

macro_rules! option {
    (switch $option:ident) => {
        ""
    };
    ($takes:ident $option:ident) => {
        stringify!($option)
    };
}

/// Expands to nothing for settings that the attribute does not have.
macro_rules! module {
    (switch $($module:tt)*) => {};
    ($takes:ident $($module:tt)*) => { $($module)* };
}

macro_rules! takes {
    (time($min:literal, $max:literal)) => {
        $crate::Takes::Duration { min: $crate::takes::nanos($min), max: $crate::takes::nanos($max) }
    };
    (span($max:literal)) => { $crate::Takes::Duration { min: 1, max: $crate::takes::nanos($max) } };
    (limit($max:literal)) => { $crate::Takes::Limit { max: $crate::takes::nanos($max) } };
    (count($min:literal, $max:literal, $unit:literal)) => {
        $crate::Takes::Count { min: $min, max: $max, unit: $unit }
    };
    (number($min:literal)) => { $crate::Takes::Number { min: $min, max: f64::MAX, unit: "" } };
    (number($min:literal, $max:literal)) => {
        $crate::Takes::Number { min: $min, max: $max, unit: "" }
    };
    (number($min:literal, $max:literal, $unit:literal)) => {
        $crate::Takes::Number { min: $min, max: $max, unit: $unit }
    };
    (share) => { $crate::Takes::Ratio { min: 0.0, above: false } };
    (share($min:literal)) => { $crate::Takes::Ratio { min: $min, above: false } };
    (some) => { $crate::Takes::Ratio { min: 0.0, above: true } };
    (word($($word:literal),+)) => { $crate::Takes::Word(&[$($word),+]) };
    (window) => { $crate::Takes::Window };
    (rate) => { $crate::Takes::Rate };
    (name) => { $crate::Takes::Name };
    (secret) => { $crate::Takes::Secret };
    (flag) => { $crate::Takes::Flag };
    (switch) => { $crate::Takes::Flag };
    (code) => { $crate::Takes::Code };
    (group) => { $crate::Takes::Group };
}

macro_rules! default {
    ($takes:ident) => {
        $crate::Value::Unset
    };
    ($takes:ident none) => {
        $crate::Value::Unset
    };
    (time $text:literal) => {
        $crate::Value::Duration($crate::takes::nanos($text))
    };
    (span $text:literal) => {
        $crate::Value::Duration($crate::takes::nanos($text))
    };
    (limit $text:literal) => {
        $crate::Value::Duration($crate::takes::nanos($text))
    };
    (window $text:literal) => {
        $crate::Value::Duration($crate::takes::nanos($text))
    };
    (count $count:literal) => {
        $crate::Value::Count($count)
    };
    (number $number:literal) => {
        $crate::Value::Number($number)
    };
    (share $share:literal) => {
        $crate::Value::Ratio($share)
    };
    (some $share:literal) => {
        $crate::Value::Ratio($share)
    };
    (word $word:literal) => {
        $crate::Value::Text($word)
    };
    (flag $flag:literal) => {
        $crate::Value::Flag($flag)
    };
    (switch $flag:literal) => {
        $crate::Value::Flag($flag)
    };
}

/// Expands to the range as a literal, for documentation.
#[doc(hidden)]
#[macro_export]
macro_rules! range_text {
    (time($min:literal, $max:literal)) => { concat!(" From ", $min, " to ", $max, ".") };
    (span($max:literal)) => { concat!(" More than 0, at most ", $max, ".") };
    (limit($max:literal)) => { concat!(" More than 0, at most ", $max, ", or `none`.") };
    (count($min:literal, 4_294_967_295, $unit:literal)) => { concat!(" At least ", stringify!($min), ".") };
    (count($min:literal, $max:literal, $unit:literal)) => {
        concat!(" From ", stringify!($min), " to ", stringify!($max), ".")
    };
    (number($min:literal)) => { concat!(" At least ", stringify!($min), ".") };
    (number($min:literal, $max:literal $(, $unit:literal)?)) => {
        concat!(" From ", stringify!($min), " to ", stringify!($max), ".")
    };
    (share) => { " From 0 to 1." };
    (share($min:literal)) => { concat!(" From ", stringify!($min), " to 1.") };
    (some) => { " More than 0, at most 1." };
    (word($first:literal $(, $word:literal)*)) => {
        concat!(" One of `", $first, "`", $(", `", $word, "`",)* ".")
    };
    (window) => { " From 10 ms to 1 h, or 1 to 10 000 calls." };
    ($takes:ident) => { "" };
}

/// Expands to the default as a literal, for documentation.
#[doc(hidden)]
#[macro_export]
macro_rules! default_text {
    () => {
        ""
    };
    (none) => {
        ""
    };
    ($default:literal) => {
        concat!(" Default: `", stringify!($default), "`.")
    };
}
