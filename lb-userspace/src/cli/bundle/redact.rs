//! What must not leave the cluster: values that are secrets, or look like one.
//!
//! Secrets are not asked for at all. What is left are values that users wrote where anybody can read them: environment
//! variables, annotations, arguments, passwords of BGP peers, lines of logs. Rather too much is taken out than too little;
//! names of Secrets, of keys and of files stay.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

/// What stands in place of a secret.
pub(super) const REDACTED: &str = "<redacted>";
/// Fields that say what others say, in another form, or that nobody needs.
const LEFT_OUT: [&str; 2] = ["managedFields", "kubectl.kubernetes.io/last-applied-configuration"];
/// In names of values that are secret.
const SECRET: &str =
    r"passw(or)?d|passphrase|secret|token|credential|api[._-]?key|private[._-]?key|authorization";
/// At the end of names that only say where a secret is.
const POINTER: &str =
    r"(?i)(dir|file|path|name|ref|key[._-]?ref|namespace|seconds|class|type|mount|volume)s?$";

/// The patterns of a text, with what is put in place of each.
struct Patterns {
    secret: Regex,
    pointer: Regex,
    /// A name and its value: one in a line of its own, as YAML has them, and one among others.
    assigned: [Regex; 2],
    plain: Vec<(Regex, &'static str)>,
}

// All are constants, and a test uses each: what can't be compiled would let nothing through.
static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    let plain = [
        (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", REDACTED),
        (r"(://)[^/\s@]+:[^/\s@]+@", "${1}<redacted>@"),
        (r"(?i)\b((?:bearer|basic)\s+)[a-z0-9._~+/=-]{8,}", "${1}<redacted>"),
        (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?", REDACTED),
    ];
    let plain = plain.into_iter().map(|(pattern, instead)| Some((Regex::new(pattern).ok()?, instead)));
    let name = format!(r"(?P<name>[\w.-]*(?:{SECRET})[\w.-]*)");
    let line =
        format!(r#"(?im)(?P<before>^\s*(?:-\s+)?["']?){name}(?P<sign>["']?[ \t]*:[ \t]+)(?P<value>\S.*)$"#);
    let among = format!(
        r#"(?i)(?P<before>){name}(?P<sign>["']?[ \t]*[=:][ \t]*)(?P<value>"[^"]*"|'[^']*'|[^\s"',;&}}\]]+)"#
    );
    Some(Patterns {
        secret: Regex::new(&format!("(?i){SECRET}")).ok()?,
        pointer: Regex::new(POINTER).ok()?,
        assigned: [Regex::new(&line).ok()?, Regex::new(&among).ok()?],
        plain: plain.collect::<Option<_>>()?,
    })
});

/// A text without secrets.
pub(super) fn text(text: &str) -> String {
    let Some(patterns) = &*PATTERNS else { return REDACTED.to_owned() };
    let mut text = text.to_owned();
    for (pattern, instead) in &patterns.plain {
        text = pattern.replace_all(&text, *instead).into_owned();
    }
    let value = |found: &Captures<'_>| {
        if patterns.is_secret(&found["name"]) {
            format!("{}{}{}{REDACTED}", &found["before"], &found["name"], &found["sign"])
        } else {
            found[0].to_owned()
        }
    };
    for pattern in &patterns.assigned {
        text = pattern.replace_all(&text, value).into_owned();
    }
    text
}

impl Patterns {
    fn is_secret(&self, name: &str) -> bool {
        self.secret.is_match(name) && !self.pointer.is_match(name)
    }
}

/// An object without secrets.
pub(super) fn object(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in LEFT_OUT {
                fields.remove(name);
            }
            // An environment variable: the name of the value is a value too.
            let named = fields.get("name").and_then(Value::as_str).is_some_and(is_secret);
            if let Some(value) = fields.get_mut("value").filter(|value| named && value.is_string()) {
                *value = REDACTED.into();
            }
            for (name, value) in fields.iter_mut() {
                if value.is_string() && is_secret(name) {
                    *value = REDACTED.into();
                }
                object(value);
            }
        }
        Value::Array(items) => {
            // `--token`, and its value as the next one.
            let mut after_secret = false;
            for item in items.iter_mut() {
                let flag = item.as_str().filter(|text| text.starts_with('-') && !text.contains('='));
                let is_flag = flag.is_some_and(is_secret);
                if after_secret && item.as_str().is_some_and(|text| !text.starts_with('-')) {
                    *item = REDACTED.into();
                }
                after_secret = is_flag;
                object(item);
            }
        }
        Value::String(said) => *said = text(said),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_secret(name: &str) -> bool {
    PATTERNS.as_ref().is_none_or(|patterns| patterns.is_secret(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn redacted(mut value: Value) -> Value {
        object(&mut value);
        value
    }

    #[test]
    fn values_of_secret_names_are_taken_out() {
        let env = json!([
            {"name": "DB_PASSWORD", "value": "hunter2"},
            {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "memberlist", "key": "secretkey"}}},
            {"name": "LB_GRACE", "value": "60s"},
        ]);
        let found = redacted(json!({"env": env, "metadata": {"managedFields": [1], "name": "x"}}));
        assert_eq!(found["env"][0]["value"], REDACTED);
        assert_eq!(found["env"][1], env[1], "a reference is no secret");
        assert_eq!(found["env"][2], env[2]);
        assert_eq!(found["metadata"], json!({"name": "x"}));
        let peer =
            redacted(json!({"spec": {"password": "x", "passwordSecret": {"name": "bgp"}, "peerASN": 64500}}));
        assert_eq!(
            peer["spec"],
            json!({"password": REDACTED, "passwordSecret": {"name": "bgp"}, "peerASN": 64500})
        );
        let volume = json!({"secret": {"secretName": "memberlist"}, "automountServiceAccountToken": true});
        assert_eq!(redacted(volume.clone()), volume);
        let arguments =
            json!(["--token", "abc", "--secret-dir", "/etc/barelb", "--log=info", "--api-key=abc"]);
        let expected = json!([
            "--token",
            REDACTED,
            "--secret-dir",
            "/etc/barelb",
            "--log=info",
            format!("--api-key={REDACTED}")
        ]);
        assert_eq!(redacted(arguments), expected);
        let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}", "a/b": "c"});
        assert_eq!(redacted(annotations), json!({"a/b": "c"}));
    }

    #[test]
    fn what_looks_like_a_secret_is_taken_out_of_texts() {
        for (said, expected) in [
            ("proxy https://me:pw@proxy.example:8080/x", "proxy https://<redacted>@proxy.example:8080/x"),
            ("Authorization: Bearer abcdefghijkl", "Authorization: <redacted>"),
            ("sent bearer abcdefgh12", "sent bearer <redacted>"),
            ("got eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJr.c2ln here", "got <redacted> here"),
            (
                "  password: hunter2\n  peer-address: 192.0.2.1",
                "  password: <redacted>\n  peer-address: 192.0.2.1",
            ),
            ("{\"password\": \"x y\", \"a\": 1}", "{\"password\": <redacted>, \"a\": 1}"),
            ("peers:\n- password: x y\n- b: c", "peers:\n- password: <redacted>\n- b: c"),
            ("secret_dir=/etc/barelb", "secret_dir=/etc/barelb"),
            (
                "key -----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY----- end",
                "key <redacted> end",
            ),
            ("2001:db8::1 answered on eth0", "2001:db8::1 answered on eth0"),
        ] {
            assert_eq!(text(said), expected);
        }
    }

    proptest! {
        /// Wherever a value with a secret name stands, it does not get through; and what was redacted once stays so.
        #[test]
        fn no_secret_gets_through(
            name in "[A-Z]{0,4}_?(PASSWORD|Token|secret|apikey)",
            secret in "[a-z0-9]{12,20}",
            depth in 0_usize..4,
        ) {
            let mut value = json!([{"name": &name, "value": &secret}, {&name: &secret}, format!("{name}={secret}")]);
            for _ in 0..depth {
                value = json!({"spec": [value]});
            }
            let once = redacted(value);
            prop_assert!(!once.to_string().contains(&secret), "{once}");
            prop_assert_eq!(redacted(once.clone()), once);
        }
    }
}
