//! A bug that panics at one object must not take the others with it: kube's controller would end with the first panic of a
//! reconcile, without a word, and a process that does nothing would go on being ready and holding the lead.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use kube::runtime::controller::Action;

use crate::error::Error;

/// A reconcile whose panic is a failure like others: told, counted, and tried again later.
pub(crate) async fn caught(reconcile: impl Future<Output = Result<Action, Error>>) -> Result<Action, Error> {
    // What a reconcile shares with others is behind locks that survive a panic, or is written in one step.
    let outcome = AssertUnwindSafe(reconcile).catch_unwind().await;
    outcome.unwrap_or_else(|panic| Err(Error::Panic(words(&*panic))))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it left no words".to_owned())
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;
    use crate::error::report;

    #[tokio::test]
    async fn a_panic_is_a_failure_that_is_told() {
        let broken = caught(async { panic!("index {} out of bounds", 7) }).await.unwrap_err();
        assert_eq!(broken.reason(), "Panic");
        assert_eq!(report(&broken), "a bug of the operator, please report it: index 7 out of bounds");
        assert!(caught(ready(Ok(Action::await_change()))).await.is_ok());
    }
}
