//! Which names are those of secrets.

/// Parts of such names, once their words are written together.
const PARTS: [&str; 20] = [
    "passw",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "credential",
    "apikey",
    "accesskey",
    "privatekey",
    "encryptionkey",
    "signingkey",
    "authkey",
    "sshkey",
    "keydata",
    "keypem",
    "bearer",
    "authorization",
    "signature",
    "cookie",
    "webhookurl",
];
/// Words of such names: parts of other words mean nothing.
const WORDS: [&str; 8] = ["pass", "pwd", "pw", "auth", "psk", "dsn", "jwt", "pgpass"];
/// The last words of names that only say where a secret is, or of which kind.
const POINTERS: [&str; 15] = [
    "dir",
    "directory",
    "file",
    "filename",
    "path",
    "name",
    "username",
    "ref",
    "namespace",
    "second",
    "class",
    "type",
    "mount",
    "volume",
    "audience",
];

/// What is called so is a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let words = words(name);
    let together = words.concat();
    let says = |word: &String| WORDS.contains(&word.as_str()) || word.strip_suffix('s').is_some_and(is_word);
    (PARTS.iter().any(|part| together.contains(part)) || words.iter().any(says)) && !points(&words)
}

/// What is called so says where a secret is.
pub(super) fn is_pointer(name: &str) -> bool {
    points(&words(name))
}

fn is_word(word: &str) -> bool {
    WORDS.contains(&word)
}

fn points(words: &[String]) -> bool {
    let last = words.last().map(String::as_str).unwrap_or_default();
    POINTERS.contains(&last) || last.strip_suffix('s').is_some_and(|last| POINTERS.contains(&last))
}

/// `clientKeyData`, `CLIENT_KEY_DATA` and `client-key.data` are `client`, `key`, `data`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let letters: Vec<char> = name.chars().collect();
    for (place, letter) in letters.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|before| letters.get(before));
        let begins = letter.is_ascii_uppercase()
            && before.is_some_and(|before| {
                let is_last_of_many = letters.get(place + 1).is_some_and(char::is_ascii_lowercase);
                !before.is_ascii_uppercase() || is_last_of_many
            });
        if begins || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_those_that_say_where_one_is() {
        for name in [
            "password",
            "DB_PASSWORD",
            "dbPass",
            "DBPass",
            "PGPASS",
            "MYSQL_PWD",
            "example.net/db-password",
            "API_TOKEN",
            "tokens",
            "APIKey",
            "api_key",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "client-key-data",
            "clientKeyData",
            "auth",
            ".dockerconfig/auth",
            "Proxy-Authorization",
            "Set-Cookie",
            "SLACK_WEBHOOK_URL",
            "SENTRY_DSN",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "author",
            "bypass",
            "key",
            "keys",
            "secretName",
            "secret-dir",
            "LB_SECRET_DIR",
            "secretKeyRef",
            "imagePullSecretRefs",
            "TOKEN_FILE",
            "password_filename",
            "tokenExpirationSeconds",
            "compass",
            "LB_GRACE",
            "KUBECONFIG",
            "webhook-mode",
            "",
        ] {
            assert!(!is_secret(name), "{name}");
        }
        assert!(is_pointer("secretName") && !is_pointer("secret"));
    }
}
