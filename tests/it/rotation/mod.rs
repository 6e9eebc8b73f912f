//! Rotation and revocation of keys on three running servers. Every valid token is accepted, and
//! every other token is refused.

mod automatic;
mod boundaries;
mod broken;
mod fleet;
mod offline;
mod refresh;
mod revoke;
mod revoke_refresh;
mod traffic;

use fleet::{KeyFleet, KeysIn};
use traffic::Traffic;
