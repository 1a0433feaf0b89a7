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
    let arguments = json!(["--token", "abc", "--secret-dir", "/etc/barelb", "--log=info", "--api-key=abc"]);
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
        ("{\"password\": \"x y\", \"a\": 1}", "{\"password\": \"<redacted>\", \"a\": 1}"),
        ("peers:\n- password: x y\n- b: c", "peers:\n- password: <redacted>\n- b: c"),
        ("secret_dir=/etc/barelb", "secret_dir=/etc/barelb"),
        ("key -----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY----- end", "key <redacted> end"),
        ("2001:db8::1 answered on eth0", "2001:db8::1 answered on eth0"),
    ] {
        assert_eq!(text(said), expected);
    }
}

/// Each has a value that must not get through, `hunter2` or a part of it.
#[test]
fn no_form_of_an_object_lets_a_secret_through() {
    let applied = json!({"spec": {"env": [{"name": "DB_PASSWORD", "value": "hunter2"}]}});
    let docker = json!({"auths": {"registry.example": {"auth": "hunter2"}}});
    let kubeconfig = "users:\n- name: me\n  user:\n    client-key-data: hunter2\n    token: hunter2\n";
    for object in [
        json!({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied.to_string()}}),
        json!({"annotations": {"example.net/last-applied": "hunter2", "objectset.rio.cattle.io/applied": "hunter2"}}),
        json!({"annotations": {"kapp.k14s.io/original": applied.to_string()}}),
        json!({"annotations": {"nested": json!({"inner": applied.to_string()}).to_string()}}),
        json!({"annotations": {"nested": format!("applied {}", applied)}}),
        json!({"annotations": {"nested": format!("applied {}", json!({"inner": applied.to_string()}))}}),
        json!({"env": [{"name": "DOCKER_CONFIG_JSON", "value": docker.to_string()}]}),
        json!({"env": [{"name": "CONFIG", "value": kubeconfig}]}),
        json!({"env": [{"value": "hunter2", "name": "dbPass"}]}),
        json!({"env": [{"name": "REDIS", "value": "redis://:hunter2@redis/0"}]}),
        json!({"httpHeaders": [{"name": "Authorization", "value": "Token hunter2"}]}),
        json!({"tokens": ["hunter2"], "credentials": {"user": "a", "what": {"x": ["hunter2"]}}}),
        json!({"args": ["--password", "hunter2"]}),
        json!({"args": ["--password=hunter2,hunter2;hunter2"]}),
        json!({"args": ["sh", "-c", "exec speaker --password hunter2 --log=info"]}),
        json!({"args": ["sh", "-c", "curl -H 'X-Api-Key: hunter2' https://x"]}),
        json!({"data": {"config": "peers:\n- my-asn: 1\n  password: |\n    hunter2\n\n    hunter2\n  peer-asn: 2\n"}}),
        json!({"data": {"config": "password:\n    hunter2\n"}}),
        json!({"data": {"config": "tokens:\n- hunter2\n- hunter2\n"}}),
        json!({"data": {"config": "- {peer-asn: 1, password: hunter2, my-asn: 2}"}}),
    ] {
        let once = redacted(object.clone());
        assert!(!once.to_string().contains("hunter2"), "{object}\n{once}");
        assert_eq!(redacted(once.clone()), once, "{object}");
    }
}

#[test]
fn a_number_may_be_a_secret() {
    assert_eq!(redacted(json!({"pwd": 1234, "x": 1})), json!({"pwd": REDACTED, "x": 1}));
}

#[test]
fn names_of_secrets_and_what_stands_beside_a_secret_stay() {
    for object in [
        json!({"secret": {"secretName": "memberlist", "items": [{"key": "secretkey", "path": "k"}], "defaultMode": 256}}),
        json!({"imagePullSecrets": [{"name": "registry"}]}),
        json!({"serviceAccountToken": {"path": "token", "audience": "api", "expirationSeconds": 3600}}),
        json!({"args": ["--kubeconfig", "/etc/x", "--webhook-mode=enabled", "--port=7472"]}),
        json!({"annotations": {"barelb.io/links": "{\"eth0\": [\"192.0.2.11\"]}"}}),
        json!({"data": {"config": "address-pools:\n- name: a\n  protocol: layer2\n  addresses: [192.0.2.0/28]\n"}}),
    ] {
        assert_eq!(redacted(object.clone()), object);
    }
    let config =
        "peers:\n- password: |\n    a\n    b\n  peer-asn: 64500\npool:\n  passwordSecret:\n    name: bgp\n";
    let expected =
        "peers:\n- password: <redacted>\n  peer-asn: 64500\npool:\n  passwordSecret:\n    name: bgp\n";
    assert_eq!(text(config), expected);
    assert_eq!(text("- {password: a, my-asn: 1}"), "- {password: <redacted>, my-asn: 1}");
}

#[test]
fn no_form_of_a_text_lets_a_secret_through() {
    for said in [
        r#"{"msg": "got {\"password\": \"hunter2\"}"}"#,
        r#"{"msg": "got {\"name\":\"A_TOKEN\",\"value\":\"hunter2\"}"}"#,
        r#"login="user password=hunter2""#,
        r#"password="a\"hunter2""#,
        r#"password="never ends hunter2"#,
        "- name: DB_PASSWORD\n  value: correct hunter2",
        "Authorization: Digest username=a, response=hunter2",
        r#"headers={"Authorization":["Basic hunter2"]}"#,
        "cookie=a=b; session=hunter2",
        "go struct {Token:hunter2 User:a}",
        "url=https://me:a@hunter2@host/x",
        "https://hunter2@github.example/x",
        "GET /x?a=b&token=hunter2&c=d",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2 and no end",
        "client-key: LS0tLS1CRUdJTiBSU0EgUFJJVhunter2==",
        "x: H4sIAAAAAAAAA6tWhunter2hunter2hunter2",
        "join with abcdef.0123456hunter2ab",
        "ghp_0123456789hunter2hunter2hunter2",
    ] {
        let once = text(said);
        assert!(!once.contains("hunter2"), "{said}\n{once}");
        assert_eq!(text(&once), once, "{said}");
    }
    let said =
        "pool first-pool: address 2001:db8::100 of Service default/web, author: me, key: value, 10:15:02";
    assert_eq!(text(said), said);
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
