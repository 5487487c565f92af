//! Settings that accept one of a few words.

/// Implements `Parameter` for an enum, with a word for each variant.
macro_rules! words {
    ($type:ident { $($word:literal = $variant:ident),* $(,)? }) => {
        impl $crate::settings::Parameter for $type {
            fn from_value(value: &$crate::settings::Value) -> Option<Self> {
                match value {
                    $($crate::settings::Value::Text(text) if text == $word => Some(Self::$variant),)*
                    _ => None,
                }
            }

            fn to_value(&self) -> $crate::settings::Value {
                let word = match self { $(Self::$variant => $word),* };
                $crate::settings::Value::Text(std::borrow::Cow::Borrowed(word))
            }

            fn words() -> &'static [&'static str] {
                &[$($word),*]
            }

            fn expected() -> std::borrow::Cow<'static, str> {
                format!("one of {}", Self::words().join(", ")).into()
            }
        }
    };
}
pub(crate) use words;
