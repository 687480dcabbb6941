//! What those who deploy a revision call it: a pipeline knows a tag, a digest, a version or a commit, and no fingerprint.

use serde_json::Value;

/// On the pod template: what the release is called by who deploys it, such as a commit. A part of the fingerprint: another
/// value is another revision, as Kubernetes replaces the pods for it.
pub const REVISION: &str = "snapback.dev/revision";

const VERSION: &str = "app.kubernetes.io/version";

/// Most names of one revision that are kept.
const MOST: usize = 34;

/// Longest name; the longest that can be asked for.
pub const LONGEST_NAME: usize = 192;

/// The names of a pod template (`spec.template`): its annotation [`REVISION`], its label `app.kubernetes.io/version`, and the
/// tags and digests of its containers' images.
pub fn called(template: &Value) -> Vec<String> {
    let metadata = &template["metadata"];
    let said = [metadata["annotations"][REVISION].as_str(), metadata["labels"][VERSION].as_str()];
    let containers = template["spec"]["containers"].as_array().into_iter().flatten();
    let images = containers.filter_map(|container| container["image"].as_str()).take(16).flat_map(tag_and_digest);
    let mut names: Vec<String> = Vec::new();
    for name in said.into_iter().flatten().chain(images) {
        if (1..=LONGEST_NAME).contains(&name.len()) && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names.truncate(MOST);
    names
}

/// Of `host:5000/shop/checkout:v2@sha256:0a1b...`: `v2` and `sha256:0a1b...`.
fn tag_and_digest(image: &str) -> impl Iterator<Item = &str> {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    // A port is no tag.
    let last = name.rsplit('/').next().unwrap_or(name);
    let tag = last.split_once(':').map(|(_, tag)| tag);
    tag.into_iter().chain(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Fingerprint;
    use serde_json::json;

    fn of_images(images: &[&str]) -> Vec<String> {
        let containers: Vec<Value> = images.iter().map(|image| json!({"image": image})).collect();
        called(&json!({"spec": {"containers": containers}}))
    }

    #[test]
    fn a_revision_is_called_by_the_tags_and_digests_of_its_images() {
        assert_eq!(of_images(&["host:5000/shop/checkout:v2@sha256:0a1b"]), ["v2", "sha256:0a1b"]);
        assert_eq!(of_images(&["checkout:v2", "proxy@sha256:0a1b", "other:v2"]), ["v2", "sha256:0a1b"]);
    }

    #[test]
    fn a_port_is_no_tag_and_an_image_without_one_has_no_name() {
        assert_eq!(of_images(&["host:5000/checkout", "checkout", ""]), Vec::<String>::new());
    }

    #[test]
    fn a_revision_is_called_what_its_annotation_and_its_version_label_say() {
        let template = json!({
            "metadata": {"annotations": {REVISION: "9f3c2a1"}, "labels": {VERSION: "1.4.0", "app": "checkout"}},
            "spec": {"containers": [{"image": "checkout:v2"}], "initContainers": [{"image": "migrate:v9"}]}
        });
        assert_eq!(called(&template), ["9f3c2a1", "1.4.0", "v2"]);
    }

    #[test]
    fn names_are_bounded() {
        let long = "x".repeat(LONGEST_NAME + 1);
        let template = |value: &str| json!({"metadata": {"annotations": {REVISION: value}}});
        assert_eq!(called(&template(&long)), Vec::<String>::new());
        assert_eq!(called(&template(&long[1..])).len(), 1);
        assert_eq!(called(&template("")), Vec::<String>::new());
        let many: Vec<String> = (0..40).map(|number| format!("app:v{number}@sha256:{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(of_images(&many).len(), 32);
        assert_eq!(called(&Value::Null), Vec::<String>::new());
    }

    #[test]
    fn another_name_by_annotation_is_another_revision() {
        let stamped = |value: &str| json!({"metadata": {"annotations": {REVISION: value}}, "spec": {"containers": []}});
        assert_ne!(Fingerprint::of_template(&stamped("1")), Fingerprint::of_template(&stamped("2")));
    }
}
