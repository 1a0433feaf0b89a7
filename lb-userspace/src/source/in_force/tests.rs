//! What counts of an object, by table: what was in force, what the files say now, what is chosen.

use std::fs;

use super::*;
use crate::source::files::Settings;

fn service(name: &str, port: u16) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: {port}}}]}}\n"
    )
}

fn bad(name: &str) -> String {
    format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: 1}}\n")
}

/// One step: the files as they are now. Returns what is in force then, as `name port @file.document`, and the problems.
fn step(in_force: &mut InForce, texts: &[(&str, String)]) -> (Vec<String>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    for (file, text) in texts {
        fs::write(dir.path().join(file), text).unwrap();
    }
    let mut files = Files::new(dir.path(), Settings::default());
    files.read();
    let choices = in_force.choose(&files);
    let problems: Vec<Problem> =
        choices.problems.iter().cloned().chain(choices.objects.values().flat_map(Choice::told)).collect();
    let held = choices.objects.into_iter().filter_map(|(id, choice)| {
        let content = choice.written.clone().or_else(|| choice.former.clone())?;
        Some((id, choice.into_held(content)))
    });
    *in_force = InForce::new(held.collect());
    let text = |(id, held): (&ObjectId, &Held)| {
        let Content::Service(spec) = &held.content else { panic!("{held:?}") };
        let port = spec.ports.iter().map(|port| port.port).next().unwrap_or_default();
        let name = id.to_string().replace("Service default/", "");
        format!("{name} {port} @{}.{}", held.file, held.document)
    };
    (in_force.objects().map(text).collect(), problems.iter().map(ToString::to_string).collect())
}

/// A step from two Services in `m`: what it is, the files after it, what is in force then, what is told.
type Step = (&'static str, Vec<(&'static str, String)>, &'static [&'static str], &'static [&'static str]);

fn both() -> String {
    [service("x", 1), service("y", 1)].concat()
}

fn steps() -> Vec<Step> {
    vec![
        ("nothing changed", vec![("m", both())], &["x 1 @m.1", "y 1 @m.2"], &[]),
        ("an edit", vec![("m", [service("x", 2), service("y", 1)].concat())], &["x 2 @m.1", "y 1 @m.2"], &[]),
        ("a removal", vec![("m", service("y", 1))], &["y 1 @m.1"], &[]),
        ("the file is deleted", vec![], &[], &[]),
        ("the file is moved", vec![("n", both())], &["x 1 @n.1", "y 1 @n.2"], &[]),
        (
            "moved and edited badly",
            vec![("n", bad("x"))],
            &["x 1 @n.1"],
            &["n.yaml, document 1, Service default/x, spec.ports"],
        ),
        (
            "a bad edit",
            vec![("m", [bad("x"), service("y", 2)].concat())],
            &["x 1 @m.1", "y 2 @m.2"],
            &["m.yaml, document 1, Service default/x, spec.ports"],
        ),
        (
            "one is hidden",
            vec![("m", ["---\nkind: [\n".to_owned(), service("y", 2)].concat())],
            &["x 1 @m.1", "y 2 @m.2"],
            &["m.yaml, document 1: "],
        ),
        (
            "all is hidden",
            vec![("m", "kind: [".to_owned())],
            &["x 1 @m.1", "y 1 @m.2"],
            &["m.yaml, document 1: "],
        ),
        (
            "the file is empty",
            vec![("m", String::new())],
            &["x 1 @m.1", "y 1 @m.2"],
            &["m.yaml: the file is empty"],
        ),
        (
            "a duplicate before",
            vec![("a", service("x", 9)), ("m", both())],
            &["x 1 @m.1", "y 1 @m.2"],
            &["a.yaml, document 1, Service default/x: the object is already defined in m.yaml, document 1"],
        ),
        (
            "a duplicate behind",
            vec![("m", both()), ("z", service("x", 9))],
            &["x 1 @m.1", "y 1 @m.2"],
            &["z.yaml, document 1, Service default/x: the object is already defined in m.yaml, document 1"],
        ),
        (
            "a duplicate before in the file",
            vec![("m", [service("x", 9), both()].concat())],
            &["x 1 @m.2", "y 1 @m.3"],
            &["m.yaml, document 1, Service default/x: the object is already defined in m.yaml, document 2"],
        ),
        (
            "a duplicate of a bad one",
            vec![("a", service("x", 9)), ("m", [bad("x"), service("y", 1)].concat())],
            &["x 1 @m.1", "y 1 @m.2"],
            &[
                "a.yaml, document 1, Service default/x: the object is already",
                "m.yaml, document 1, Service default/x, spec.ports",
            ],
        ),
        (
            "a duplicate of a hidden one",
            vec![("a", service("x", 9)), ("m", "kind: [".to_owned())],
            &["x 1 @m.1", "y 1 @m.2"],
            &["a.yaml, document 1, Service default/x: the object is already", "m.yaml, document 1: "],
        ),
        (
            "a bad duplicate",
            vec![("a", bad("x")), ("m", both())],
            &["x 1 @m.1", "y 1 @m.2"],
            &["a.yaml, document 1, Service default/x: the object is already"],
        ),
        (
            "a bad new one",
            vec![("a", bad("w")), ("m", both())],
            &["x 1 @m.1", "y 1 @m.2"],
            &["a.yaml, document 1, Service default/w, spec.ports"],
        ),
        (
            "a new one, good and bad",
            vec![("a", bad("w")), ("b", service("w", 3)), ("m", both())],
            &["w 3 @b.1", "x 1 @m.1", "y 1 @m.2"],
            &["a.yaml, document 1, Service default/w: the object is already defined in b.yaml"],
        ),
        (
            "it leaves its file and is elsewhere",
            vec![("a", service("x", 9)), ("m", service("y", 1))],
            &["x 9 @a.1", "y 1 @m.1"],
            &[],
        ),
    ]
}

#[test]
fn what_is_chosen() {
    for (what, now, expected, told) in steps() {
        let names: Vec<(String, String)> =
            now.into_iter().map(|(file, text)| (format!("{file}.yaml"), text)).collect();
        let now: Vec<(&str, String)> =
            names.iter().map(|(file, text)| (file.as_str(), text.clone())).collect();
        let mut in_force = InForce::default();
        step(&mut in_force, &[("m.yaml", both())]);
        for when in ["once", "again"] {
            let (found, problems) = step(&mut in_force, &now);
            let found: Vec<String> = found.iter().map(|text| text.replace(".yaml", "")).collect();
            assert_eq!(found, expected, "{what}, {when}");
            assert_eq!(problems.len(), told.len(), "{what}, {when}: {problems:#?}");
            for start in told {
                assert!(problems.iter().any(|problem| problem.starts_with(start)), "{what}: {problems:#?}");
            }
        }
    }
}
