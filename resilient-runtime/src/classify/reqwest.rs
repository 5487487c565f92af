//! `Classify` for `reqwest`.

use std::error::Error as _;

use super::{Class, Classify};

impl Classify for reqwest::Error {
    /// A status as its [`StatusCode`](http::StatusCode), whatever the method. Not connected: transient. Cut off, or broken on the way:
    /// uncertain. A request that could not be made: ignored, the dependency was not asked. A [`Rejection`](crate::Rejection)
    /// inside: as it says. Else: permanent.
    ///
    /// An error made by `error_for_status` has lost the headers of the response, and with them `Retry-After`. Use
    /// [`checked`](crate::checked) in its place: `checked(client.get(url).send().await?)?`.
    fn classify(&self) -> Class {
        if let Some(status) = self.status() {
            return status.classify();
        }
        if self.is_builder() {
            return Class::Ignored;
        }
        if self.is_connect() {
            return Class::TRANSIENT;
        }
        if self.is_timeout() {
            return Class::UNCERTAIN;
        }
        match self.source().and_then(Class::found_in) {
            Some(known) => known,
            // The connection ended before the answer did.
            None if self.is_request() => Class::UNCERTAIN,
            // Redirected in circles, or an answer that cannot be read.
            None => Class::Permanent,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::Client;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use crate::{Class, Classify as _};

    /// What becomes of a request to a server that answers so, and then hangs up; or hangs on, where it says nothing.
    async fn met(answer: Option<&'static str>) -> reqwest::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
        });
        let client = Client::builder().timeout(Duration::from_millis(200)).build().unwrap();
        let answer = client.get(format!("http://{address}/")).send().await?.error_for_status()?.text().await;
        server.abort();
        answer
    }

    #[tokio::test]
    async fn an_error_of_reqwest_tells_what_was_surely_not_sent_from_what_may_have_been() {
        // T33
        let class = async |answer| met(answer).await.unwrap_err().classify();
        assert_eq!(
            class(Some("HTTP/1.1 503 Gone Fishing\r\ncontent-length: 0\r\n\r\n")).await,
            Class::TRANSIENT
        );
        assert_eq!(class(Some("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")).await, Class::Ignored);
        // Hung up at once, in the middle of the head, and of the body.
        assert_eq!(class(Some("")).await, Class::UNCERTAIN);
        assert_eq!(class(Some("HTTP/1.1 200 OK\r\ncont")).await, Class::UNCERTAIN);
        assert_eq!(class(Some("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")).await, Class::UNCERTAIN);
        assert_eq!(class(None).await, Class::UNCERTAIN);
        // And what is no HTTP may have done something, too.
        assert_eq!(class(Some("SSH-2.0-OpenSSH_10\r\n")).await, Class::UNCERTAIN);

        let nobody = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let refused = Client::new().get(format!("http://{nobody}/")).send().await.unwrap_err();
        assert_eq!(refused.classify(), Class::TRANSIENT);
        let unfinished = Client::new().get("http://[").send().await.unwrap_err();
        assert_eq!(unfinished.classify(), Class::Ignored);
    }
}
