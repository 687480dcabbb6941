//! The customizations for Argo CD, in its own layout, with its own test files and by its own engine. As in its tests, but for
//! one thing: every story must be in them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapback_tests::argocd::{Customization, all, config_map, config_map_file, folder};

use crate::{KINDS, ask, read, stories};

/// A question about the object of a file.
fn question(customization: &Customization, file: &str, more: &Value) -> Value {
    let mut question = json!({
        "object": read(&folder(customization.kind).join(file)),
        "kind": format!("snapback.dev/{}", customization.kind),
        "health": customization.health,
        "actions": customization.actions,
    });
    question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    question
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn argo_cd_tells_the_health_of_each_story() {
    for customization in all().unwrap() {
        let kind = customization.kind;
        let tests = list(&read(&folder(kind).join("health_test.yaml"))["tests"]);
        let tested: BTreeSet<&str> = tests.iter().map(|test| text(&test["inputPath"])).collect();
        let told: Vec<String> = stories(kind).into_iter().map(|(name, _)| format!("testdata/{name}.yaml")).collect();
        assert_eq!(
            tested,
            told.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            "the stories that {kind}/health_test.yaml has"
        );
        let questions: Vec<Value> = tests
            .iter()
            .map(|test| question(&customization, text(&test["inputPath"]), &json!({"ask": "health"})))
            .collect();
        for (test, health) in tests.iter().zip(ask("argocd-lua", &questions)) {
            assert_eq!(health, test["healthStatus"], "{kind} {}", test["inputPath"]);
        }
    }
}

/// Argo CD and those who go by kstatus must not tell two stories.
#[test]
fn argo_cd_and_kstatus_agree() {
    for customization in all().unwrap() {
        let (names, objects): (Vec<String>, Vec<Value>) = stories(customization.kind).into_iter().unzip();
        let question =
            |name: &String| question(&customization, &format!("testdata/{name}.yaml"), &json!({"ask": "health"}));
        let healths = ask("argocd-lua", &names.iter().map(question).collect::<Vec<_>>());
        for ((name, health), status) in names.iter().zip(healths).zip(ask("kstatus", &objects)) {
            let agrees = match text(&health["status"]) {
                "Healthy" => status["status"] == "Current",
                "Degraded" => status["status"] == "Failed",
                "Progressing" => status["status"] == "InProgress",
                // kstatus knows no such word.
                "Suspended" => status["status"] != "Failed",
                _ => false,
            };
            assert!(agrees, "{} {name}: {health} and {status}", customization.kind);
        }
    }
}

#[test]
fn argo_cd_offers_the_actions_that_there_are() {
    for customization in all().unwrap() {
        let tests = list(&read(&folder(customization.kind).join("actions/action_test.yaml"))["discoveryTests"]);
        assert!(tests.len() >= 2, "{}", customization.kind);
        let input = |test: &Value| format!("actions/{}", text(&test["inputPath"]));
        let questions: Vec<Value> =
            tests.iter().map(|test| question(&customization, &input(test), &json!({"ask": "discovery"}))).collect();
        for (test, offered) in tests.iter().zip(ask("argocd-lua", &questions)) {
            // Enabled is not written.
            let plain = |actions: &Value| {
                let mut actions = list(actions);
                for action in actions.iter_mut().filter(|action| action["disabled"] == false) {
                    action.as_object_mut().unwrap().remove("disabled");
                }
                actions.sort_by_key(ToString::to_string);
                actions
            };
            assert_eq!(plain(&offered), plain(&test["result"]), "{} {}", customization.kind, test["inputPath"]);
        }
    }
}

#[test]
fn argo_cds_actions_change_what_they_say() {
    for customization in all().unwrap() {
        let kind = customization.kind;
        let tests = list(&read(&folder(kind).join("actions/action_test.yaml"))["actionTests"]);
        let tried: BTreeSet<&str> = tests.iter().map(|test| text(&test["action"])).collect();
        let input = |test: &Value| format!("actions/{}", text(&test["inputPath"]));
        let ask_for =
            |test: &Value| json!({"ask": "action", "action": test["action"], "parameters": test["parameters"]});
        let questions: Vec<Value> =
            tests.iter().map(|test| question(&customization, &input(test), &ask_for(test))).collect();
        for ((test, asked), answer) in tests.iter().zip(&questions).zip(ask("argocd-lua", &questions)) {
            let what = format!("{kind} {} {}", test["action"], test["inputPath"]);
            if let Some(message) = test["expectedErrorMessage"].as_str() {
                assert_eq!(answer["error"], message, "{what}");
                continue;
            }
            let [impacted] = answer.as_array().unwrap_or_else(|| panic!("{what}: {answer}")).as_slice() else {
                panic!("{what}: {answer}")
            };
            assert_eq!(impacted["operation"], "patch", "{what}");
            let expected = read(&folder(kind).join("actions").join(text(&test["expectedOutputPath"])));
            assert_eq!(impacted["resource"], expected, "{what}");
            assert_ne!(asked["object"], expected, "{what} changes nothing");
        }
        let offered = json!({"ask": "discovery"});
        let offered = ask("argocd-lua", &[question(&customization, &input(&tests[0]), &offered)]).remove(0);
        let offered = list(&offered);
        let names: BTreeSet<&str> = offered.iter().map(|action| text(&action["name"])).collect();
        assert_eq!(tried, names, "the actions of a {kind}");
    }
}

#[test]
fn the_config_map_is_what_the_files_say() {
    let written = std::fs::read_to_string(config_map_file()).unwrap();
    assert_eq!(written, config_map().unwrap(), "run `make manifests`");
    // And means it.
    let map: Value = serde_yaml_ng::from_str(&written).unwrap();
    assert_eq!(map["data"].as_object().unwrap().len(), 2 * KINDS.len());
    for customization in all().unwrap() {
        let part =
            |what: &str| &map["data"][format!("resource.customizations.{what}.snapback.dev_{}", customization.kind)];
        assert_eq!(part("health"), &customization.health);
        assert_eq!(part("actions"), &customization.actions);
    }
}
