//! The endpoints, one file each.

mod blacklist;
mod bodies;
mod discovery;
mod fields;
mod forged;
mod grace;
mod headers;
mod health;
mod jwks;
mod life;
mod limits;
mod methods;
mod obtain;
mod refresh;
mod settings;
mod sign_ins;
mod stop;
mod tokens;
mod tools;
mod user;
mod verify;
