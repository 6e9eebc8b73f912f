//! The program as people and service managers meet it: arguments and settings in, lines, files and exit codes out.

mod audit;
mod core_dumps;
mod database_file;
mod doctor;
mod dotenv;
mod environment;
mod files;
mod files_limits;
mod guides;
mod healthcheck;
mod help;
mod keys;
mod keys_emergency;
mod keys_kept;
mod keys_live;
mod log;
mod migrate;
mod passphrases;
mod reference;
mod secrecy;
mod serve;
mod sessions;
mod settings;
mod terminal;
mod users;
mod why;
