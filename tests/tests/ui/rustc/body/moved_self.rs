use resilient_runtime::resilient;

struct S(String);

impl S {
    #[resilient(retry(max = 3))]
    fn f(self) -> Option<String> {
        Some(self.0)
    }
}

fn main() {}
