use resilient_runtime::{Rejection, resilient};

struct Request(String);

impl Request {
    fn send(self) -> Option<u32> {
        self.0.parse().ok()
    }

    async fn send_later(self) -> Result<u32, Rejection> {
        Ok(1)
    }
}

#[resilient(retry(max = 2))]
fn retried(request: Request) -> Option<u32> {
    request.send()
}

#[resilient(retry(max = 2))]
async fn retried_async(request: Request, name: String) -> Result<u32, Rejection> {
    assert!(!name.is_empty());
    request.send_later().await
}

macro_rules! own {
    ($value:ident) => {
        $value.send()
    };
}

#[resilient(retry(max = 2))]
fn in_a_macro(request: Request) -> Option<u32> {
    own!(request)
}

fn main() {}
