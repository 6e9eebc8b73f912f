//! An operator's `latchkey keys` commands, with the settings of the first instance.

use std::process::{Command, Stdio};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::world::World;

/// A key in the output of `latchkey keys list`.
#[derive(Clone, Debug)]
pub struct Key {
    pub kid: String,
    pub usage: String,
    pub algorithm: String,
    pub state: String,
    pub signs_from: DateTime<Utc>,
}

/// A key to create.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub usage: &'static str,
    pub algorithm: &'static str,
}

impl Order {
    /// Returns the key that a rotation creates, by the number of the rotation. Algorithms
    /// alternate, and every third key is a refresh secret.
    pub const fn number(number: u32) -> Self {
        if number % 3 == 2 {
            return Self {
                usage: "refresh",
                algorithm: "HS256",
            };
        }
        let algorithm = match (number - number / 3) % 3 {
            0 => "EdDSA",
            1 => "RS256",
            _ => "ES256",
        };
        Self {
            usage: "access",
            algorithm,
        }
    }
}

/// Returns all keys of the store.
pub async fn list(world: &World) -> Vec<Key> {
    let text = run(world.instances[0].latchkey(&["keys", "list", "--json"])).await;
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    let word = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    let key = |key: &Value| Key {
        kid: word(key, "kid"),
        usage: word(key, "use"),
        algorithm: word(key, "algorithm"),
        state: word(key, "state"),
        signs_from: word(key, "signs_from").parse().unwrap(),
    };
    all.iter().map(key).collect()
}

pub async fn rotate(world: &World, order: Order) {
    let mut command = world.instances[0].latchkey(&["keys", "rotate", "--use", order.usage]);
    if order.usage == "access" {
        command.env("LATCHKEY_ALGORITHM", order.algorithm);
    }
    run(command).await;
}

pub async fn revoke(world: &World, kid: &str) {
    run(world.instances[0].latchkey(&["keys", "revoke", kid])).await;
}

/// Runs a command without blocking the load. Returns its output.
async fn run(mut command: Command) -> String {
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || (command.output().unwrap(), command)).await;
    let (output, command) = output.unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
