//! Access tokens and the ids that go into addresses.

use std::fmt;

use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

/// Longest token that is accepted. Meta's are some 200 to 400 characters long and may grow.
const TOKEN_MAX: usize = 2048;
/// Longest id of a number, an account or a medium.
const ID_MAX: usize = 32;

/// Why a text is no token or no id. Never contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Not a token.
    #[error("a token is 1 to 2048 printable ASCII characters without spaces")]
    Token,
    /// Not an id.
    #[error("an id of Meta's is 1 to 32 digits")]
    Id,
}

/// An access token. Never printed, cleared when dropped.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Takes a token, without the white space around it.
    ///
    /// # Errors
    /// [`FormError::Token`].
    pub fn new(text: &str) -> Result<Self, FormError> {
        let text = text.trim();
        let fits = (1..=TOKEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(Zeroizing::new(text.to_owned()))) } else { Err(FormError::Token) }
    }

    /// The token itself, for sealing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn header(&self) -> HeaderValue {
        let text = Zeroizing::new(format!("Bearer {}", self.0.as_str()));
        let mut value = HeaderValue::from_str(&text).expect("a token is printable ASCII");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Meta's id of a phone number (`phone_number_id`), an account or a medium: digits only, so it is safe in an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetaId(String);

impl MetaId {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for MetaId {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        let fits = (1..=ID_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if fits { Ok(Self(text.to_owned())) } else { Err(FormError::Id) }
    }
}

impl fmt::Display for MetaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_printable_trimmed_and_never_shown() {
        let token = Token::new(" EAAsecret \n").expect("a token");
        assert_eq!(token.expose(), "EAAsecret");
        assert!(!format!("{token:?} {:?}", token.header()).contains("secret"));
        for text in ["", "  ", "a b", "a\u{e4}b", &"x".repeat(2049)] {
            assert!(Token::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_id_is_digits_and_nothing_that_could_change_an_address() {
        assert_eq!("106540352242922".parse::<MetaId>().map(|id| id.to_string()), Ok("106540352242922".to_owned()));
        for text in ["", "1/2", "..", "me", "1?x", "12 ", &"1".repeat(33)] {
            assert_eq!(text.parse::<MetaId>(), Err(FormError::Id), "{text:?}");
        }
    }
}
