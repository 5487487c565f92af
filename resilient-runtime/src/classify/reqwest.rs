//! `Classify` for `reqwest`.

use std::error::Error as _;

use super::{Class, Classify};

impl Classify for reqwest::Error {
    /// Classifies an error of `reqwest`.
    ///
    /// | error | class |
    /// |---|---|
    /// | HTTP status | the class of the [`StatusCode`](http::StatusCode), regardless of the method |
    /// | request that could not be built, so nothing was sent | ignored |
    /// | connection failed | transient |
    /// | timeout | uncertain |
    /// | known cause in the `source()` chain, such as a [`Rejection`](crate::Rejection) | the class of the cause |
    /// | others, such as a redirect loop or an invalid response, because the request was sent | uncertain |
    ///
    /// `error_for_status` drops the headers of the response, including `Retry-After`. Use [`checked`](crate::checked)
    /// instead: `checked(client.get(url).send().await?)?`.
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
            // The response is incomplete or invalid, so the request was sent.
            None => Class::UNCERTAIN,
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

    /// Sends a request to a server that sends `answer` and closes the connection, or that never responds if it is
    /// `None`.
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
    async fn errors_are_classified_by_whether_the_request_was_sent() {
        // T33
        let class = async |answer| met(answer).await.unwrap_err().classify();
        assert_eq!(
            class(Some("HTTP/1.1 503 Gone Fishing\r\ncontent-length: 0\r\n\r\n")).await,
            Class::UNKNOWN
        );
        assert_eq!(class(Some("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")).await, Class::Ignored);
        // The connection closes immediately, in the middle of the head, and in the middle of the body.
        assert_eq!(class(Some("")).await, Class::UNCERTAIN);
        assert_eq!(class(Some("HTTP/1.1 200 OK\r\ncont")).await, Class::UNCERTAIN);
        assert_eq!(class(Some("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")).await, Class::UNCERTAIN);
        assert_eq!(class(None).await, Class::UNCERTAIN);
        // A server that does not speak HTTP may also have done something.
        assert_eq!(class(Some("SSH-2.0-OpenSSH_10\r\n")).await, Class::UNCERTAIN);

        let unused = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let refused = Client::new().get(format!("http://{unused}/")).send().await.unwrap_err();
        assert_eq!(refused.classify(), Class::TRANSIENT);
        let unfinished = Client::new().get("http://[").send().await.unwrap_err();
        assert_eq!(unfinished.classify(), Class::Ignored);
    }
}
