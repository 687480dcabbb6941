//! The headers of a request: what the configuration says, with the secrets that the files hold right now.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

use crate::config::{AuthConfig, HeaderValueConfig};
use crate::secret::{SecretError, SecretFile};

/// What is wrong with the credentials of a source.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// More than one way to fill `Authorization`.
    #[error("auth.bearerTokenFile, auth.basic and a header Authorization exclude one another")]
    TwoWays,
    /// The user's name cannot be sent.
    #[error("auth.basic.username must not be empty or hold a colon")]
    Username,
    /// A header has no name that HTTP knows.
    #[error("headers: {0:?} is no header name")]
    HeaderName(String),
    /// A header that is the client's own business.
    #[error("headers: {0} is set by the client")]
    Reserved(String),
    /// A header has both a value and a file, or neither.
    #[error("headers.{0} must have either value or valueFile")]
    HeaderValue(String),
    /// A value has characters that a header cannot carry.
    #[error("{0} holds characters that a header cannot carry")]
    Characters(String),
    /// A file gave no secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Where the headers of each request come from.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    headers: Vec<(HeaderName, Value)>,
}

#[derive(Debug, Clone)]
enum Value {
    Fixed(HeaderValue),
    File(SecretFile),
    Bearer(SecretFile),
    Basic { username: String, password: SecretFile },
}

/// Headers that would break the request or lift a limit if they were set by hand.
const RESERVED: [&str; 7] =
    ["host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding", "user-agent"];

impl Credentials {
    /// Checks the settings; reads no file.
    pub(crate) fn new(
        auth: Option<&AuthConfig>,
        headers: &BTreeMap<String, HeaderValueConfig>,
    ) -> Result<Self, CredentialsError> {
        let mut all = Vec::new();
        for (name, value) in headers {
            let header = HeaderName::try_from(name.as_str()).map_err(|_| CredentialsError::HeaderName(name.clone()))?;
            if RESERVED.contains(&header.as_str()) {
                return Err(CredentialsError::Reserved(name.clone()));
            }
            let value = match (&value.value, &value.value_file) {
                (Some(text), None) => Value::Fixed(header_value(&format!("headers.{name}"), text)?),
                (None, Some(path)) => Value::File(SecretFile::new(format!("headers.{name}.valueFile"), path)),
                _ => return Err(CredentialsError::HeaderValue(name.clone())),
            };
            all.push((header, value));
        }
        if let Some(path) = auth.and_then(|auth| auth.bearer_token_file.as_ref()) {
            all.push((AUTHORIZATION, Value::Bearer(SecretFile::new("auth.bearerTokenFile", path))));
        }
        if let Some(basic) = auth.and_then(|auth| auth.basic.as_ref()) {
            if basic.username.is_empty() || basic.username.contains(':') {
                return Err(CredentialsError::Username);
            }
            let password = SecretFile::new("auth.basic.passwordFile", &basic.password_file);
            all.push((AUTHORIZATION, Value::Basic { username: basic.username.clone(), password }));
        }
        if all.iter().filter(|(name, _)| *name == AUTHORIZATION).count() > 1 {
            return Err(CredentialsError::TwoWays);
        }
        Ok(Self { headers: all })
    }

    /// The headers of a request that is sent now. Reads files, so it blocks.
    pub(crate) fn headers(&self) -> Result<HeaderMap, CredentialsError> {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            map.insert(name.clone(), value.read()?);
        }
        Ok(map)
    }
}

impl Value {
    fn read(&self) -> Result<HeaderValue, CredentialsError> {
        match self {
            Self::Fixed(value) => Ok(value.clone()),
            Self::File(file) => secret_value(file, &file.line()?),
            Self::Bearer(file) => secret_value(file, &format!("Bearer {}", file.line()?.trim())),
            Self::Basic { username, password } => {
                let pair = STANDARD.encode(format!("{username}:{}", password.line()?));
                secret_value(password, &format!("Basic {pair}"))
            }
        }
    }
}

fn secret_value(file: &SecretFile, text: &str) -> Result<HeaderValue, CredentialsError> {
    let mut value = header_value(&format!("the file of {}", file.field), text)?;
    value.set_sensitive(true);
    Ok(value)
}

fn header_value(what: &str, text: &str) -> Result<HeaderValue, CredentialsError> {
    HeaderValue::from_str(text).map_err(|_| CredentialsError::Characters(what.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BasicConfig;

    fn header(name: &str, value: HeaderValueConfig) -> BTreeMap<String, HeaderValueConfig> {
        BTreeMap::from([(name.to_owned(), value)])
    }

    fn fixed(text: &str) -> HeaderValueConfig {
        HeaderValueConfig { value: Some(text.to_owned()), value_file: None }
    }

    #[test]
    fn a_bearer_token_and_basic_authentication_exclude_one_another() {
        let basic = BasicConfig { username: "me".to_owned(), password_file: "/p".into() };
        let auth = AuthConfig { bearer_token_file: Some("/t".into()), basic: Some(basic), tls: None };
        assert!(matches!(Credentials::new(Some(&auth), &BTreeMap::new()), Err(CredentialsError::TwoWays)));
        let auth = AuthConfig { bearer_token_file: Some("/t".into()), ..AuthConfig::default() };
        let by_hand = header("authorization", fixed("x"));
        assert!(matches!(Credentials::new(Some(&auth), &by_hand), Err(CredentialsError::TwoWays)));
    }

    #[test]
    fn a_wrong_header_is_refused_by_name() {
        for (headers, expected) in [
            (header("a b", fixed("x")), "headers: \"a b\" is no header name"),
            (header("Host", fixed("x")), "headers: Host is set by the client"),
            (header("X-A", HeaderValueConfig::default()), "headers.X-A must have either value or valueFile"),
            (header("X-A", fixed("a\nb")), "headers.X-A holds characters that a header cannot carry"),
        ] {
            assert_eq!(Credentials::new(None, &headers).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_username_with_a_colon_would_move_into_the_password() {
        let basic = BasicConfig { username: "a:b".to_owned(), password_file: "/p".into() };
        let auth = AuthConfig { basic: Some(basic), ..AuthConfig::default() };
        assert!(matches!(Credentials::new(Some(&auth), &BTreeMap::new()), Err(CredentialsError::Username)));
    }
}
