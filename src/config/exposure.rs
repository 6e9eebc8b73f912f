//! Files and directories that more users can access than necessary.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Config, keys::KeysPlace};
use latchkey_files as files;
use latchkey_files::Exposure;
use latchkey_store::sql::DatabaseUrl;

impl Config {
    /// Returns the files that more users can access than necessary, but that a server accepts.
    /// Files that other users can change are errors of [`Config::check`] instead.
    #[must_use]
    pub fn exposures(&self) -> Vec<Exposure> {
        let secrets = [
            &self.database.database_url_file,
            &self.redis.redis_url_file,
            &self.keys.keys_passphrase_file,
        ];
        let mut found: Vec<_> = secrets
            .into_iter()
            .flatten()
            .flat_map(|path| files::exposures(path, true))
            .collect();
        if let Ok(DatabaseUrl::Sqlite(file)) = self.database.url() {
            found.extend(
                file.paths()
                    .iter()
                    .flat_map(|path| files::exposures(path, false)),
            );
            found.extend(files::exposures(file.folder(), false));
        }
        if self.keys.keys == KeysPlace::Directory {
            found.extend(files::exposures(&self.keys.keys_dir, false));
            let keys = fs::read_dir(&self.keys.keys_dir)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path());
            let keys = keys.filter(|path| {
                path.is_file() && path.extension().is_some_and(|extension| extension == "pem")
            });
            found.extend(keys.flat_map(|path| files::exposures(&path, true)));
        }
        found.dedup();
        found
    }

    /// Returns warnings about passwords that cross a network unencrypted.
    #[must_use]
    pub fn clear_text_warnings(&self) -> Vec<String> {
        let database = self.database.url().ok().and_then(|url| url.warning());
        let redis = self
            .redis
            .options(0)
            .ok()
            .flatten()
            .and_then(|options| options.warning());
        database.into_iter().chain(redis).collect()
    }
}

/// Refuses the files of an SQLite database, or their folder, if other users can change them.
pub(super) fn refuse_foreign_writers(paths: &[PathBuf], folder: &Path) -> Result<(), String> {
    // In a world-writable directory, another user may have created the database.
    paths
        .iter()
        .try_for_each(|path| files::refuse_foreign_owner(path))?;
    paths
        .iter()
        .map(PathBuf::as_path)
        .chain([folder])
        .try_for_each(files::refuse_foreign_writers)
}
