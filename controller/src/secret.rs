//! The Secret with the key by which agents know each other's messages. Made by whoever leads, and
//! again should somebody delete it; one that exists is never touched, MetalLB's included.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clarion_daemon::Refusals;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

/// The entry of the Secret.
pub const KEY: &str = "secretkey";
const KEY_BYTES: usize = 16;
/// How often it is looked for: one request for its metadata. A watch would need more rights, and
/// agents keep the key that they have meanwhile.
const LOOK: Duration = Duration::from_secs(15);
/// The log's words for what is written here.
const WHAT: &str = "the Secret with the cluster's key";

/// Makes the Secret whenever it does not exist, for ever; cancel it to end it.
pub async fn keep(
    client: &Client,
    namespace: &str,
    name: &str,
    deployment: Option<&str>,
    refusals: &Refusals,
) {
    loop {
        let made = make(client, namespace, name, deployment).await;
        let now = Instant::now();
        match made {
            Ok(made) => {
                refusals.taken(now, WHAT);
                if made {
                    tracing::info!(secret = name, "made the Secret with the cluster's key");
                }
            }
            Err(error) => {
                refusals.refused(now, WHAT, &name, &error);
            }
        }
        let next = refusals.until(now, WHAT).unwrap_or(now + LOOK);
        tokio::time::sleep_until(next.into()).await;
    }
}

/// True if it was made now.
async fn make(
    client: &Client,
    namespace: &str,
    name: &str,
    deployment: Option<&str>,
) -> Result<bool, kube::Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    if api.get_metadata_opt(name).await?.is_some() {
        return Ok(false);
    }
    let owner = match deployment {
        None => None,
        Some(owner) => {
            Api::<Deployment>::namespaced(client.clone(), namespace).get_metadata_opt(owner).await?
        }
    };
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            owner_references: owner.map(|owner| {
                vec![OwnerReference {
                    api_version: "apps/v1".into(),
                    kind: "Deployment".into(),
                    name: owner.name_any(),
                    uid: owner.uid().unwrap_or_default(),
                    ..OwnerReference::default()
                }]
            }),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(
            KEY.to_owned(),
            ByteString(base64(&rand::random::<[u8; KEY_BYTES]>()).into_bytes()),
        )])),
        ..Secret::default()
    };
    match api.create(&PostParams::default(), &secret).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Base64 without padding (RFC 4648 §4, §3.2), in which MetalLB's controller writes the key.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = group.iter().fold(0_u32, |n, byte| n << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for i in 0..=group.len() {
            let digit = (number >> (18 - 6 * i)) & 63;
            text.push(char::from(ALPHABET[digit as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648_section_10_without_padding() {
        let table = [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in table {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
