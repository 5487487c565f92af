use resilient_runtime::resilient;

struct Json<T>(T);

struct Job {
    id: u32,
    name: String,
}

enum Which {
    Number(u32),
    Text(String),
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
        Which::Text(_) => None,
    }
}

#[resilient(retry(max = 2))]
fn vector(name: String) -> Option<u32> {
    save(vec![name].concat())
}

// These move nothing that is not `Copy`.
#[resilient(retry(max = 2))]
fn copies(which: Which, pair: (u32, u8), (a, b): (u32, &str), text: Option<&'static str>) -> Option<u32> {
    let (c, d) = pair;
    if let Some("x") = text {
        return None;
    }
    if let Some(text) = text {
        return text.parse().ok();
    }
    match which {
        Which::Number(number) => Some(number + a + c + u32::from(d)),
        Which::Text(ref text) => text.parse().ok(),
        Which::Both { id, .. } => b.parse::<u32>().ok().map(|it| it + id),
    }
}

type Alias<'a> = &'a Option<String>;

#[resilient(retry(max = 2), hedge(after = "1s"), idempotent)]
async fn borrows(
    which: Option<String>,
    alias: Alias<'_>,
) -> Result<usize, resilient_runtime::Rejection> {
    if let Some(text) = alias {
        return Ok(text.len());
    }
    Ok(match &which {
        Some(text) => text.len(),
        None => match which {
            Some(_) => 1,
            None => 0,
        },
    })
}

fn main() {}
