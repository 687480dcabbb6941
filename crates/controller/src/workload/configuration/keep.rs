//! Remembering what a revision runs with, and keeping copies of it.

use kube::Client;
use serde_json::{Value, json};
use snapback_api::v1alpha1::{TARGET_LABEL, label_value};
use snapback_core::configuration::{ConfigKind, Configured, MOST_OF_A_KIND, copy_name, named, original};
use snapback_core::policy::ConfigMode;

use super::objects::{Held, Objects};
use super::{ConfigRules, Live};
use crate::error::{Error, report};

/// Remembers in `config` what is in the ConfigMaps and Secrets that a template names, unless that is known; and with
/// `Restore` keeps copies of them, as immutable objects that the workload owns. What has changed since it was remembered is
/// lost: there is nothing left to copy. Those that are not there are left out: the template may mark them optional.
///
/// # Errors
/// The first of the API server's, such as the lack of a right. What could be kept is kept.
pub async fn keep(
    client: &Client,
    namespace: &str,
    target: &str,
    live: &Live,
    template: &Value,
    rules: ConfigRules,
    config: &mut Option<Vec<Configured>>,
) -> Result<(), Error> {
    let label = label_value(target);
    let keeper = Keeper { objects: Objects { client, namespace }, target, label, live, template, rules };
    let mut failed = None;
    match config {
        None => *config = Some(keeper.remember(&mut failed).await?),
        Some(known) => keeper.catch_up(known, &mut failed).await,
    }
    failed.map_or(Ok(()), Err)
}

struct Keeper<'a> {
    objects: Objects<'a>,
    target: &'a str,
    /// The value of the label on copies.
    label: String,
    live: &'a Live,
    template: &'a Value,
    rules: ConfigRules,
}

impl Keeper<'_> {
    /// Everything that the template names. What is remembered and what is copied come from one read, so that no change can come
    /// between them.
    async fn remember(&self, failed: &mut Option<Error>) -> Result<Vec<Configured>, Error> {
        let mut all: Vec<Configured> = Vec::new();
        for (kind, named) in named(self.template).into_iter().filter(|(kind, _)| self.rules.covers(*kind)) {
            let name = original(&named);
            let mut of_this_kind = all.iter().filter(|known| known.kind == kind);
            if of_this_kind.clone().count() >= MOST_OF_A_KIND || of_this_kind.any(|known| known.name == name) {
                continue;
            }
            let mut one =
                Configured { kind, name: name.to_owned(), digest: String::new(), copy: String::new(), lost: false };
            if self.rules.mode == ConfigMode::Restore {
                let Some(held) = self.objects.read(kind, &named).await? else { continue };
                one.digest.clone_from(&held.version);
                if held.is_copy_of(name, self.live.workload.uid.as_str()) {
                    one.copy.clone_from(&named);
                } else {
                    self.copy(&mut one, &held, failed).await;
                }
            } else {
                let Some(version) = self.objects.version(kind, &named).await? else { continue };
                one.digest = version;
            }
            all.push(one);
        }
        Ok(all)
    }

    /// What was remembered and has no copy yet.
    async fn catch_up(&self, known: &mut Vec<Configured>, failed: &mut Option<Error>) {
        known.retain(|one| self.rules.covers(one.kind));
        let named = named(self.template);
        for one in known.iter_mut().filter(|one| one.copy.is_empty()) {
            let named = named.iter().find(|(kind, named)| *kind == one.kind && original(named) == one.name);
            let named = named.map_or(one.name.as_str(), |(_, named)| named);
            match self.objects.read(one.kind, named).await {
                Ok(held) => match held.filter(|held| held.version == one.digest) {
                    Some(held) => {
                        one.lost = false;
                        self.copy(one, &held, failed).await;
                    }
                    None => one.lost = true,
                },
                Err(error) => _ = failed.get_or_insert(error),
            }
        }
    }

    async fn copy(&self, one: &mut Configured, held: &Held, failed: &mut Option<Error>) {
        match self.create_copy(one, held).await {
            Ok(copy) => one.copy = copy,
            Err(error) => _ = failed.get_or_insert(error),
        }
    }

    async fn create_copy(&self, one: &Configured, held: &Held) -> Result<String, Error> {
        let workload = &self.live.workload;
        let uid = workload.uid.as_str();
        let name = copy_name(&one.name, uid, &one.digest).ok_or_else(|| Error::NameTooLong(one.title()))?;
        // Neither annotations nor labels of the original: tools know their objects by those.
        let metadata = json!({
            "name": name,
            "namespace": self.objects.namespace,
            "labels": {TARGET_LABEL: self.label},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": workload.kind.as_str(), "name": self.target, "uid": uid}]
        });
        match self.objects.create(one.kind, &held.copied(one.kind, &metadata)).await {
            // Kept before, and nobody heard of it. Or somebody else's.
            Err(Error::Conflict(_)) => match self.objects.read(one.kind, &name).await? {
                Some(there) if there.is_copy_of(&one.name, uid) && there.holds_the_same(held) => Ok(name),
                _ => Err(Error::Taken(format!("{} {name}", one.kind.as_str()))),
            },
            created => created.map(|()| name),
        }
    }
}

/// Removes copies that neither the known good revision, configured like this, nor the live template needs any more. Left over,
/// they do no harm, and the next time removes them.
pub async fn forget(
    client: &Client,
    namespace: &str,
    target: &str,
    live: &Live,
    rules: ConfigRules,
    config: &[Configured],
) {
    if rules.mode != ConfigMode::Restore {
        return;
    }
    let objects = Objects { client, namespace };
    let of_live = named(&live.template);
    for kind in [ConfigKind::ConfigMap, ConfigKind::Secret].into_iter().filter(|kind| rules.covers(*kind)) {
        let needed = |name: &str| {
            config.iter().any(|one| one.kind == kind && one.copy == name)
                || of_live.iter().any(|(of, one)| *of == kind && one == name)
        };
        let label = format!("{TARGET_LABEL}={}", label_value(target));
        let forgotten = async {
            for name in objects.owned(kind, &label, live.workload.uid.as_str()).await? {
                if original(&name) != name && !needed(&name) {
                    objects.delete(kind, &name).await?;
                }
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = forgotten.await {
            tracing::debug!(namespace, target, "old copies of a {} are left: {}", kind.as_str(), report(&error));
        }
    }
}
