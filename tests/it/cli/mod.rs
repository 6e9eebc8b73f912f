//! The program as people and service managers meet it: arguments and settings in, lines, files and exit codes out.

mod audit;
mod database_file;
mod doctor;
mod environment;
mod healthcheck;
mod help;
mod keys;
mod keys_kept;
mod keys_live;
mod log;
mod migrate;
mod reference;
mod serve;
mod sessions;
mod settings;
mod users;
mod why;
