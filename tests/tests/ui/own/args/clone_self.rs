use resilient_runtime::resilient;

struct S;

impl S {
    #[resilient(retry(max = 3), clone(self))]
    fn f(self) -> Option<Self> {
        Some(self)
    }
}

fn main() {}
