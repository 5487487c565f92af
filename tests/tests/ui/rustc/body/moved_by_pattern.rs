use resilient_runtime::resilient;

struct Json<T>(T);

struct Job {
    id: u32,
    name: String,
}

enum Which {
    Number(u32),
    Both { id: u32, text: String },
}

fn save(text: String) -> Option<u32> {
    text.parse().ok()
}

#[resilient(retry(max = 2))]
async fn argument(Json(body): Json<String>) -> Option<u32> {
    save(body)
}

#[resilient(retry(max = 2))]
fn tuple((id, name): (u32, String)) -> Option<u32> {
    save(name).map(|it| it + id)
}

#[resilient(retry(max = 2))]
async fn arm(which: Option<String>) -> Option<u32> {
    match which {
        Some(text) => save(text),
        None => None,
    }
}

#[resilient(retry(max = 2))]
fn if_let(which: Option<String>) -> Option<u32> {
    if let Some(mut text) = which {
        text.clear();
        return save(text);
    }
    None
}

#[resilient(retry(max = 2))]
fn let_else(which: Option<String>) -> Option<u32> {
    let Some(text) = which else { return None };
    save(text)
}

#[resilient(hedge(after = "50ms"), idempotent)]
async fn structure(job: Job) -> Result<u32, resilient_runtime::Rejection> {
    let Job { id, name } = job;
    Ok(save(name).unwrap_or(id))
}

#[resilient(retry(max = 2))]
fn variants(which: Which) -> Option<u32> {
    match which {
        Which::Number(number) => Some(number),
        Which::Both { id, text } => save(text).map(|it| it + id),
    }
}

#[resilient(retry(max = 2))]
fn vector(name: String) -> Option<u32> {
    save(vec![name].concat())
}

fn main() {}
