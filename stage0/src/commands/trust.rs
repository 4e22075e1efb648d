//! `rkt trust`.

use std::io::{BufRead, Read};
use std::process::ExitCode;

use appc::AcIdentifier;
use clap::{ArgMatches, Command};
use fetch::Insecure;
use trust::{CosignKey, Key, Keystore, Scope};

use super::Entry;
use crate::cli::flags::{Values, switch, text, words};
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};
use crate::{output, remote};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "trust",
    about: "Trust a key for image verification",
    usage: "trust [--prefix=PREFIX] [--insecure-allow-http] [--skip-fingerprint-review] [--root] [PUBKEY ...]",
    long: "Adds keys to the local keystore for use in verifying signed images.\n\nPUBKEY is a file or URL with a public key, as gpg --export writes it. Without one,\nthe keys are discovered where the prefix says. For images of registries, PUBKEY is\na public key of cosign and PREFIX is REGISTRY/REPOSITORY or a part of it.\nPREFIX scopes keys to an image name prefix; --root trusts them for all images.",
    arguments: |command: Command| {
        command.args([
            text("prefix", "", "prefix to limit trust to"),
            switch("root", "add root key from filesystem without a prefix"),
            switch(
                "skip-fingerprint-review",
                "accept key without fingerprint confirmation",
            ),
            switch(
                "insecure-allow-http",
                "allow HTTP use for key discovery and/or retrieval",
            ),
            words("pubkey"),
        ])
    },
    run,
    ..Entry::BASE
};

/// No key file is larger.
const LIMIT: u64 = 1 << 20;

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let files = matches.strings("pubkey");
    let scope = match (matches.str("prefix"), matches.is("root")) {
        ("", true) if files.is_empty() => {
            return Err(Failure::new("--root needs the file of a public key"));
        }
        ("", true) => Scope::Root,
        ("", false) if files.is_empty() => {
            return Err(Failure::new("either --prefix or --root is required"));
        }
        ("", false) => return Err(Failure::new("--root required for non-prefixed key files")),
        (_, true) => return Err(Failure::new("--root and --prefix usage mutually exclusive")),
        (prefix, false) if prefix.contains("://") => {
            return Err(Failure::new(format!(
                "invalid value {prefix:?} for --prefix: it is the beginning of an image's name, without a scheme"
            )));
        }
        // A registry may have a port, which no name of an image can hold as it is.
        (prefix, false) if prefix.contains(':') && !files.is_empty() => {
            scope_of(AcIdentifier::sanitize(prefix), prefix)?
        }
        (prefix, false) => scope_of(AcIdentifier::parse(prefix), prefix)?,
    };
    let allowed = Insecure {
        http: matches.is("insecure-allow-http") || context.insecure.http,
        tls: context.insecure.tls,
    };
    let files = match &scope {
        Scope::Prefix(prefix) if files.is_empty() => {
            remote::discover_keys(context, prefix, allowed)?
        }
        _ => files,
    };
    let keystore = Keystore::new(&context.dirs.system, &context.dirs.local);
    let review = !matches.is("skip-fingerprint-review");
    super::each(files, |file| {
        for key in read(context, file, allowed)? {
            trust_key(&keystore, &key, &scope, file, review)?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn scope_of(prefix: Result<AcIdentifier, appc::Error>, text: &str) -> Result<Scope, Failure> {
    let prefix = prefix.doing_with(|| format!("invalid value {text:?} for --prefix"))?;
    Ok(Scope::Prefix(prefix))
}

/// A key of either kind.
#[derive(Debug)]
enum AnyKey {
    /// For ACIs.
    OpenPgp(Box<Key>),
    /// For OCI images.
    Cosign(CosignKey),
}

impl AnyKey {
    fn parse_all(bytes: &[u8]) -> trust::Result<Vec<Self>> {
        match CosignKey::is_one(bytes) {
            true => Ok(vec![Self::Cosign(CosignKey::parse(bytes)?)]),
            false => {
                let keys = Key::parse_all(bytes)?.into_iter();
                Ok(keys.map(|key| Self::OpenPgp(Box::new(key))).collect())
            }
        }
    }

    fn trust(&self, keystore: &Keystore, scope: &Scope) -> trust::Result<std::path::PathBuf> {
        match self {
            Self::OpenPgp(key) => keystore.trust(key, scope),
            Self::Cosign(key) => keystore.trust_cosign(key, scope),
        }
    }
}

fn read(context: &Context, location: &str, allowed: Insecure) -> Result<Vec<AnyKey>, Failure> {
    let problem = || format!("error accessing the key {location:?}");
    if location.starts_with("http://") || location.starts_with("https://") {
        let bytes = remote::fetch_keys(context, location, allowed)?;
        return AnyKey::parse_all(&bytes).doing_with(problem);
    }
    let path = location.strip_prefix("file://").unwrap_or(location);
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LIMIT).read_to_end(&mut bytes))
        .doing_with(problem)?;
    AnyKey::parse_all(&bytes).doing_with(problem)
}

fn trust_key(
    keystore: &Keystore,
    key: &AnyKey,
    scope: &Scope,
    location: &str,
    review: bool,
) -> Result<(), Failure> {
    let what = match scope {
        Scope::Root => "for all images".to_owned(),
        Scope::Prefix(prefix) => format!("for prefix {:?}", prefix.as_str()),
    };
    output::err(&describe(key, scope, location));
    match review {
        true if !confirmed()? => {
            return Err(Failure::new(format!("not trusting {location:?}")));
        }
        true => output::err(&format!("Trusting {location:?} {what}.\n")),
        false => output::err(&format!(
            "Trusting {location:?} {what} without fingerprint review.\n"
        )),
    }
    let path = key
        .trust(keystore, scope)
        .doing_with(|| format!("error adding the key {what}"))?;
    let added = match scope {
        Scope::Root => "Added root key".to_owned(),
        Scope::Prefix(_) => format!("Added key {what}"),
    };
    output::line(&format!("{added} at \"{}\"", path.display()));
    Ok(())
}

fn describe(key: &AnyKey, scope: &Scope, location: &str) -> String {
    let prefix = match scope {
        Scope::Root => "",
        Scope::Prefix(prefix) => prefix.as_str(),
    };
    let mut text = format!("Prefix: {prefix:?}\nKey: {location:?}\n");
    let key = match key {
        AnyKey::OpenPgp(key) => key,
        AnyKey::Cosign(key) => {
            let print = key.fingerprint();
            return text + &format!("Cosign key fingerprint is: {print}\n");
        }
    };
    text.push_str(&format!(
        "GPG key fingerprint is: {}\n",
        key.shown_fingerprint()
    ));
    for user in key.user_ids() {
        text.push_str(&format!("  {user}\n"));
    }
    text
}

/// Asks until there is an answer.
fn confirmed() -> Result<bool, Failure> {
    /// Longest line that is read as an answer.
    const LINE: u64 = 4096;
    let mut input = std::io::stdin().lock();
    loop {
        output::err("Are you sure you want to trust this key (yes/no)? ");
        let mut line = String::new();
        input
            .by_ref()
            .take(LINE)
            .read_line(&mut line)
            .doing("cannot read the answer")?;
        match line.trim() {
            _ if line.is_empty() => {
                return Err(Failure::new(
                    "there is no answer: --skip-fingerprint-review trusts without asking",
                ));
            }
            "yes" => return Ok(true),
            "no" => return Ok(false),
            _ => output::err("Please enter 'yes' or 'no'\n"),
        }
    }
}
