//! A certificate for host names, by an authority made for it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::run;
use crate::scratch::Scratch;

/// Certificate and key, and the authority that a client trusts; the files go with it.
#[derive(Debug)]
pub struct Certificate {
    folder: Scratch,
}

impl Certificate {
    /// A certificate for these host names, good for two days.
    pub fn new(hosts: &[&str]) -> Result<Self> {
        let certificate = Self { folder: Scratch::new("certificate")? };
        certificate.make("authority", "BareLB test authority", &[])?;
        let names = hosts.iter().map(|host| format!("DNS:{host}")).collect::<Vec<_>>().join(",");
        let alternatives = format!("subjectAltName={names}");
        let signed = ["-addext", &alternatives, "-addext", "basicConstraints=critical,CA:FALSE"];
        let by = ["-CA", &certificate.text("authority.crt"), "-CAkey", &certificate.text("authority.key")];
        certificate.make("server", hosts.first().unwrap_or(&"nobody"), &[&signed[..], &by].concat())?;
        Ok(certificate)
    }

    /// What the client trusts, as PEM.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("authority.crt")
    }

    /// The certificate, as PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("server.crt")
    }

    /// Its key, as PEM.
    pub fn key(&self) -> PathBuf {
        self.folder.join("server.key")
    }

    fn make(&self, name: &str, subject: &str, more: &[&str]) -> Result<()> {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        command.args(["-days", "2", "-subj", &format!("/CN={subject}")]);
        command.args([
            "-keyout",
            &self.text(&format!("{name}.key")),
            "-out",
            &self.text(&format!("{name}.crt")),
        ]);
        run::output(command.args(more)).map(drop)
    }

    fn text(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }
}
