//! Parser of the reply to `INFO`.

/// Relevant fields of `INFO`.
pub(super) struct ServerInfo {
    /// True for a node of a cluster.
    pub cluster: bool,
    /// Identity of the cache. Changes after a restart, a fail-over and an eviction.
    pub cache_identity: String,
    /// Eviction policy, if the server evicts keys.
    pub eviction_policy: Option<String>,
    /// True for a replica, which rejects writes.
    pub replica: bool,
    /// Identity of the Redis process.
    pub run_id: String,
}

impl ServerInfo {
    pub(super) fn parse(info: &str) -> Self {
        let field = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
                .unwrap_or_default()
        };
        let limited = field("maxmemory") != "0";
        let policy = field("maxmemory_policy");
        Self {
            cluster: field("cluster_enabled") == "1",
            cache_identity: format!(
                "{} {} {}",
                field("run_id"),
                field("master_replid"),
                field("evicted_keys")
            ),
            eviction_policy: (limited && !["", "noeviction"].contains(&policy))
                .then(|| policy.to_owned()),
            replica: field("role") == "slave",
            run_id: field("run_id").to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ServerInfo;

    const INFO: &str = "# Server\r\nrun_id:a1\r\n# Memory\r\nmaxmemory:1024\r\nmaxmemory_human:1.00K\r\n\
        maxmemory_policy:volatile-lru\r\n# Stats\r\nevicted_keys:7\r\n# Replication\r\nrole:master\r\n\
        master_replid:b2\r\n# Cluster\r\ncluster_enabled:0\r\n";

    #[test]
    fn info_fields_are_parsed() {
        let server = ServerInfo::parse(INFO);
        assert_eq!(
            (
                server.cache_identity.as_str(),
                server.eviction_policy.as_deref()
            ),
            ("a1 b2 7", Some("volatile-lru"))
        );
        assert_eq!(server.run_id, "a1");
        assert!(!server.cluster && !server.replica);
        assert!(ServerInfo::parse(&INFO.replace("enabled:0", "enabled:1")).cluster);
        assert!(ServerInfo::parse(&INFO.replace("role:master", "role:slave")).replica);
    }

    #[test]
    fn no_limit_or_noeviction_means_no_eviction() {
        assert_eq!(
            ServerInfo::parse(&INFO.replace(":1024", ":0")).eviction_policy,
            None
        );
        assert_eq!(
            ServerInfo::parse(&INFO.replace("volatile-lru", "noeviction")).eviction_policy,
            None
        );
        assert_eq!(ServerInfo::parse("").eviction_policy, None);
    }
}
