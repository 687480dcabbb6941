//! What can go wrong in a reconcile, by what is to be done about it.

use std::error::Error as StdError;
use std::time::Duration;

use thiserror::Error;

use crate::workload::ObserveError;

/// A failed reconcile.
#[derive(Debug, Error)]
pub enum Error {
    /// The live look failed.
    #[error("observe")]
    Observe(#[from] ObserveError),
    /// A write was refused, or did not arrive.
    #[error("{what}")]
    Write {
        /// What was written.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: Box<kube::Error>,
    },
    /// The object that was judged is not the newest. Nothing was done; look again.
    #[error("{0} changed meanwhile")]
    Conflict(&'static str),
    /// A write had no answer in time.
    #[error("{0}: no answer in time")]
    Timeout(&'static str),
    /// A request about a Secret failed. Why is not kept, since it might quote what is in the Secret.
    #[error("{what}: {}", unquoted(*code))]
    Secret {
        /// What was asked for.
        what: &'static str,
        /// HTTP's code of the answer, if there was one.
        code: Option<u16>,
    },
    /// A bug of ours, met at one object. The others must not suffer for it.
    #[error("a bug of the operator, please report it: {0}")]
    Panic(String),
    /// Another object has the name of a copy.
    #[error("{0} is there and is no copy of ours; delete it")]
    Taken(String),
    /// An object's name leaves no room for that of a copy.
    #[error("the name of {0} is too long for a copy of it: at most 233 characters")]
    NameTooLong(String),
}

fn unquoted(code: Option<u16>) -> String {
    match code {
        Some(code) => {
            format!("the API server answered {code}; its words are not shown, since they may quote the Secret")
        }
        None => "the request failed; why is not shown, since that may quote the Secret".to_owned(),
    }
}

impl Error {
    /// The failure of a write.
    pub(crate) fn write(what: &'static str, source: kube::Error) -> Self {
        match &source {
            kube::Error::Api(status) if status.code == 409 => Self::Conflict(what),
            _ => Self::Write { what, source: Box::new(source) },
        }
    }

    /// The same without any words of the API server's or of a parser, if it is about a Secret.
    pub(crate) fn unquoted(self) -> Self {
        match self {
            Self::Write { what, source } => {
                let code = if let kube::Error::Api(status) = &*source { Some(status.code) } else { None };
                Self::Secret { what, code }
            }
            other => other,
        }
    }

    /// Whether the next try may well succeed: nobody answered, or the answer was not about the request. A refusal stays one.
    pub(crate) fn is_transient(&self) -> bool {
        let is_of_the_server = |code: u16| code == 429 || code >= 500;
        match self {
            Self::Timeout(_) | Self::Observe(ObserveError::Timeout(_)) => true,
            Self::Write { source, .. } | Self::Observe(ObserveError::Api { source, .. }) => match &**source {
                kube::Error::Api(status) => is_of_the_server(status.code),
                kube::Error::HyperError(_) | kube::Error::Service(_) => true,
                _ => false,
            },
            Self::Secret { code, .. } => code.is_none_or(is_of_the_server),
            Self::Observe(ObserveError::Shape { .. })
            | Self::Conflict(_)
            | Self::Taken(_)
            | Self::NameTooLong(_)
            | Self::Panic(_) => false,
        }
    }

    /// One word, for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Observe(_) => "Observe",
            Self::Write { .. } => "Write",
            Self::Conflict(_) => "Conflict",
            Self::Timeout(_) => "Timeout",
            Self::Secret { .. } => "Secret",
            Self::Taken(_) => "Taken",
            Self::NameTooLong(_) => "NameTooLong",
            Self::Panic(_) => "Panic",
        }
    }

    /// When to try again, after `failures` failures in a row.
    pub fn retry_after(&self, failures: u32) -> Duration {
        match self {
            Self::Conflict(_) => Duration::from_secs(1),
            Self::Observe(_)
            | Self::Write { .. }
            | Self::Timeout(_)
            | Self::Secret { .. }
            | Self::Taken(_)
            | Self::NameTooLong(_)
            | Self::Panic(_) => {
                // Nothing tells us when an outage is over, and a bad release may wait for that.
                let longest = if self.is_transient() { Duration::from_secs(10) } else { Duration::from_mins(5) };
                Duration::from_secs(1 << failures.clamp(1, 8)).min(longest)
            }
        }
    }
}

/// The whole chain of an error in one line. kube's errors print their own sources already, and the API server's words are
/// enough of its answer.
pub fn report(error: &(dyn StdError + 'static)) -> String {
    let mut text = said(error);
    let mut current = error;
    while of_kube(current).is_none()
        && let Some(source) = current.source()
    {
        text = format!("{text}: {}", said(source));
        current = source;
    }
    snapback_api::conditions::cut(&text, 1024)
}

fn said(error: &(dyn StdError + 'static)) -> String {
    match of_kube(error) {
        Some(kube::Error::Api(status)) if !status.message.is_empty() => status.message.clone(),
        _ => error.to_string(),
    }
}

/// A box of an error is a type of its own here.
fn of_kube<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a kube::Error> {
    error.downcast_ref::<kube::Error>().or_else(|| error.downcast_ref::<Box<kube::Error>>().map(|boxed| &**boxed))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn of_the_api_servers_answer_its_words_are_told_and_no_more() {
        let refused = kube::Error::Api(Box::new(Status::failure("exceeded quota", "Forbidden").with_code(403)));
        assert_eq!(report(&Error::write("the copy", refused)), "the copy: exceeded quota");
    }

    #[test]
    fn an_outage_is_not_waited_for_longer_than_ten_seconds_and_a_refusal_is() {
        let answered = |code| {
            Error::write("a status", kube::Error::Api(Box::new(Status::failure("no", "Reason").with_code(code))))
        };
        for (error, many) in [(answered(503), 10), (Error::Timeout("a status"), 10), (answered(403), 256)] {
            let waits = [1, 2, 3, 100].map(|failures| error.retry_after(failures).as_secs());
            assert_eq!(waits, [2, 4, 8, many], "{error:?}");
        }
        assert_eq!(answered(409).retry_after(100).as_secs(), 1);
    }

    #[test]
    fn an_error_about_a_secret_quotes_nothing() {
        let words = "admission webhook denied the request: data.password is s3cr3t";
        let refused = kube::Error::Api(Box::new(kube::core::Status::failure(words, "Forbidden").with_code(403)));
        let error = Error::write("the copy of a Secret", refused).unquoted();
        let told = report(&error);
        assert!(told.contains("the copy of a Secret: the API server answered 403"), "{told}");
        let parser = serde_json::from_str::<u8>("\"s3cr3t\"").unwrap_err();
        assert!(parser.to_string().contains("s3cr3t"), "a parser quotes");
        let broken = Error::write("a Secret", kube::Error::SerdeError(parser)).unquoted();
        for error in [error, broken] {
            assert!(!format!("{} {error:?}", report(&error)).contains("s3cr3t"), "{error:?}");
        }
    }
}
