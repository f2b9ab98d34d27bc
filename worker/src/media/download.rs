//! One download over HTTP, within bounds: the connection goes to the address that was checked and to no other.

use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};

use super::file::Receiving;
use super::guard::{Checked, Guard};
use super::{MediaError, refused};

/// Redirects that are followed, each checked like the first address.
const MAX_REDIRECTS: usize = 3;
/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a server may say nothing.
const IDLE_LIMIT: Duration = Duration::from_secs(15);

/// Downloads into `receiving`; returns the type that the server told.
pub(super) async fn download(
    guard: &Guard,
    url: &str,
    receiving: &mut Receiving,
) -> Result<Option<String>, MediaError> {
    let mut url = url.to_owned();
    for _ in 0..=MAX_REDIRECTS {
        let checked = guard.check(&url).await?;
        let mut response = ask(&checked).await?;
        if response.status().is_redirection() {
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.and_then(|to| checked.url.join(to).ok());
            url = to.ok_or_else(|| refused("the server redirects to nowhere"))?.into();
            continue;
        }
        judge(response.status())?;
        // Nothing was asked for but the file as it is: what is packed all the same is not unpacked here.
        let packed = response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
        if packed {
            return Err(refused("the server sends the file packed though nobody asked for it"));
        }
        receiving.expect(response.content_length())?;
        while let Some(piece) = response.chunk().await.map_err(away)? {
            receiving.add(&piece).await?;
        }
        let told = response.headers().get(CONTENT_TYPE).and_then(|told| told.to_str().ok());
        let told = told.and_then(|told| told.split(';').next()).map(|told| told.trim().to_ascii_lowercase());
        return Ok(told);
    }
    Err(refused(format!("the address redirects more than {MAX_REDIRECTS} times")))
}

async fn ask(checked: &Checked) -> Result<Response, MediaError> {
    let mut client = Client::builder()
        .no_proxy() // a proxy would look the host up again, for itself
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_LIMIT)
        .read_timeout(IDLE_LIMIT)
        .user_agent(concat!("wafleet/", env!("CARGO_PKG_VERSION")));
    if let Some(host) = checked.url.domain() {
        client = client.resolve_to_addrs(host, &checked.addresses);
    }
    let client = client.build().map_err(away)?;
    client.get(checked.url.clone()).header(ACCEPT_ENCODING, "identity").send().await.map_err(away)
}

/// Whether a status is the file, a reason to try again, or the end.
fn judge(status: StatusCode) -> Result<(), MediaError> {
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Err(MediaError::Away(format!("the server answers {}", status.as_u16())))
        }
        status if status.is_server_error() => Err(MediaError::Away(format!("the server answers {}", status.as_u16()))),
        status => Err(refused(format!("the server answers {}", status.as_u16()))),
    }
}

/// Without the address, which may hold a secret.
fn away(error: reqwest::Error) -> MediaError {
    let what = match &error {
        error if error.is_timeout() => "the server did not answer in time",
        error if error.is_connect() => "the server cannot be reached",
        _ => "the connection to the server broke off",
    };
    MediaError::Away(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_the_file_a_reason_to_wait_or_the_end() {
        for (status, expected) in [
            (200, "file"),
            (204, "end"),
            (206, "end"),
            (304, "end"),
            (401, "end"),
            (404, "end"),
            (410, "end"),
            (408, "wait"),
            (429, "wait"),
            (500, "wait"),
            (503, "wait"),
        ] {
            let verdict = match judge(StatusCode::from_u16(status).expect("a status")) {
                Ok(()) => "file",
                Err(MediaError::Refused(_)) => "end",
                Err(_) => "wait",
            };
            assert_eq!(verdict, expected, "{status}");
        }
    }
}
