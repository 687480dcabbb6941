//! From a request to what it asks for.

use http::Method;

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// One object.
    Get,
    /// All objects of a kind.
    List,
    /// Changes of a kind.
    Watch,
    /// A new object.
    Create,
    /// A whole object.
    Update,
    /// A part of an object.
    Patch,
    /// Its end.
    Delete,
}

impl Verb {
    /// Whether it changes something.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Patch | Self::Delete)
    }
}

/// One request.
#[allow(clippy::struct_excessive_bools, reason = "each is a parameter of a request")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What is done.
    pub verb: Verb,
    /// The plural, such as `deployments`.
    pub resource: String,
    /// `apps/v1`, or `v1`.
    pub api_version: String,
    /// Empty for all namespaces.
    pub namespace: String,
    /// Empty for a collection.
    pub name: String,
    /// `status`, or empty.
    pub subresource: String,
    /// `labelSelector`, decoded.
    pub selector: String,
    /// `resourceVersion` of a watch.
    pub since: u64,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
    /// `fieldManager`.
    pub manager: String,
    /// Whether only metadata is asked for.
    pub metadata_only: bool,
    /// Whether a watch wants bookmarks.
    pub bookmarks: bool,
    /// Whether a list may come from the server's cache: it asks for any version, or for pages, as what fills a cache does.
    pub cached: bool,
}

impl Call {
    /// `VERB resource/status`, for messages and matching.
    pub fn title(&self) -> String {
        let part = if self.subresource.is_empty() { String::new() } else { format!("/{}", self.subresource) };
        let dry = if self.dry_run { " (dry run)" } else { "" };
        format!("{:?} {}{part}{dry}", self.verb, self.resource)
    }

    pub(crate) fn parse<B>(request: &http::Request<B>) -> Option<Self> {
        let path: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
        let (api_version, rest) = match path.as_slice() {
            ["api", version, rest @ ..] => ((*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => ((*namespace).to_owned(), rest),
            rest => (String::new(), rest),
        };
        let (resource, name, subresource) = match rest {
            [resource] => (*resource, "", ""),
            [resource, name] => (*resource, *name, ""),
            [resource, name, subresource] => (*resource, *name, *subresource),
            _ => return None,
        };
        let query = request.uri().query().unwrap_or_default();
        let parameter = |wanted: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == wanted).map(|(_, value)| decoded(value)).unwrap_or_default()
        };
        let is_watch = matches!(parameter("watch").as_str(), "true" | "1");
        let verb = match (request.method(), name.is_empty()) {
            (&Method::GET, true) if is_watch => Verb::Watch,
            (&Method::GET, true) => Verb::List,
            (&Method::GET, false) => Verb::Get,
            (&Method::POST, _) => Verb::Create,
            (&Method::PUT, _) => Verb::Update,
            (&Method::PATCH, _) => Verb::Patch,
            (&Method::DELETE, _) => Verb::Delete,
            _ => return None,
        };
        let accept = request.headers().get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
        Some(Self {
            verb,
            resource: resource.to_owned(),
            api_version,
            namespace,
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            selector: parameter("labelSelector"),
            since: parameter("resourceVersion").parse().unwrap_or_default(),
            dry_run: !parameter("dryRun").is_empty(),
            manager: parameter("fieldManager"),
            metadata_only: accept.contains("as=PartialObjectMetadata"),
            bookmarks: parameter("allowWatchBookmarks") == "true",
            cached: parameter("resourceVersion") == "0" || !parameter("limit").is_empty(),
        })
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = std::str::from_utf8(&digits).unwrap_or_default();
                bytes.push(u8::from_str_radix(digits, 16).unwrap_or(b'?'));
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
