//! AWS Signature Version 4, from the side that checks it.

use axum::http::{HeaderMap, Method, Uri};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Whether a request was signed with this secret, as it is, body included.
pub(super) fn fits(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
    access_key: &str,
    secret: &str,
) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let field = |name: &str| {
        let fields = text("authorization").strip_prefix(ALGORITHM)?.trim().split(',');
        fields.map(str::trim).find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    };
    let (Some(credential), Some(signed), Some(signature)) =
        (field("Credential"), field("SignedHeaders"), field("Signature"))
    else {
        return false;
    };
    let Some((key, scope)) = credential.split_once('/') else { return false };
    let [day, region, service, "aws4_request"] = scope.split('/').collect::<Vec<_>>()[..] else { return false };
    let (date, hash) = (text("x-amz-date"), text("x-amz-content-sha256"));
    let names: Vec<&str> = signed.split(';').collect();
    let must = ["host", "x-amz-date", "x-amz-content-sha256"].iter().all(|name| names.contains(name));
    if key != access_key || !must || !date.starts_with(day) || hash != hex(&Sha256::digest(body)) {
        return false;
    }
    let mut request = format!("{method}\n{}\n{}\n", uri.path(), canonical_query(uri));
    for name in &names {
        let value = text(name).split_whitespace().collect::<Vec<_>>().join(" ");
        request.push_str(&format!("{name}:{value}\n"));
    }
    request.push_str(&format!("\n{signed}\n{hash}"));
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let key = [day, region, service, "aws4_request", &to_sign]
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, data| sign(&key, data.as_bytes()));
    hex(&key) == signature
}

fn canonical_query(uri: &Uri) -> String {
    let mut pairs: Vec<String> = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .map(|(name, value)| format!("{}={}", encode(&name), encode(&value)))
        .collect();
    pairs.sort();
    pairs.join("&")
}

fn encode(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn sign(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first example of "Signature Calculations for the Authorization Header" in Amazon's documentation of S3, without
    /// its range header's meaning mattering: a GET of /test.txt.
    #[test]
    fn the_documented_example_fits_and_another_secret_does_not() {
        let mut headers = HeaderMap::new();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (name, value) in [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", empty),
            ("x-amz-date", "20130524T000000Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                 SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
                 Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
        ] {
            headers.insert(name, value.parse().expect("a header"));
        }
        let uri = "/test.txt".parse().expect("a path");
        let fits = |body: &[u8], secret: &str| fits(&Method::GET, &uri, &headers, body, "AKIAIOSFODNN7EXAMPLE", secret);
        assert!(fits(b"", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"));
        assert!(!fits(b"x", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"));
        assert!(!fits(b"", "another secret"));
    }
}
