use super::*;

#[test]
fn forms_of_other_clients_are_translated() {
    for (text, normal_text) in [
        ("redis://cache", "redis://cache"),
        ("REDIS://cache:6379/0", "redis://cache:6379/0"),
        ("valkey://cache/3", "redis://cache/3"),
        ("valkeys://cache", "rediss://cache"),
        ("redis+tls://cache", "rediss://cache"),
        ("redis+ssl://:a@cache:6380/1", "rediss://:a@cache:6380/1"),
        ("redis://cache?db=2", "redis://cache/2"),
        ("redis://cache/2?db=2&protocol=2", "redis://cache/2"),
        ("redis://cache?database=2", "redis://cache/2"),
        ("redis://:a@cache/", "redis://:a@cache"),
        ("redis://:@cache", "redis://cache"),
        ("redis://:a@b@cache", "redis://:a%40b@cache"),
        ("redis://[::1]:6379/1", "redis://[::1]:6379/1"),
        (" redis://cache\n", "redis://cache"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        (
            "redis+unix:///run/redis.sock?db=1",
            "unix:///run/redis.sock?db=1",
        ),
        (
            "redis+socket:///run/r.sock?password=a&username=u",
            "unix:///run/r.sock?user=u&pass=a",
        ),
        (
            "unix:///run/r.sock?database=1&pass=a",
            "unix:///run/r.sock?pass=a&db=1",
        ),
    ] {
        assert_eq!(
            normal(text).unwrap().as_str().trim_end_matches('/'),
            normal_text,
            "{text}"
        );
    }
}

#[test]
fn unsupported_parts_are_refused_by_name() {
    for (text, error) in [
        ("cache:6379", FORM),
        ("cache", FORM),
        ("", FORM),
        ("redis://", FORM),
        ("http://cache", FORM),
        ("redis://ca\nche", FORM),
        ("redis-sentinel://s1:26379/0#main", SENTINEL),
        ("redis+sentinel://s1/main", SENTINEL),
        ("redis-cluster://n1", CLUSTER),
        ("redis://n1:7000,n2:7001", COMMA),
        ("rediss://cache#insecure", INSECURE),
        ("rediss://cache#x", ESCAPES),
        ("redis://ada@cache", USER_ALONE),
        ("redis://ada:@cache", USER_ALONE),
        ("unix:///run/r.sock?user=ada", USER_ALONE),
        ("redis://cache/main", DATABASE),
        ("redis://cache/-1", DATABASE),
        ("redis://cache/0/1", DATABASE),
        ("redis://cache?db=", DATABASE),
        ("unix:///run/r.sock?db=x", DATABASE),
        ("redis://cache/1?db=2", DATABASES),
        ("redis://cache?db=1&db=2", TWICE),
        ("redis://cache?db=1&database=1", TWICE),
        ("redis://0.0.0.0", WILDCARD),
        ("redis://[::]:6379", WILDCARD),
        ("unix://run/redis.sock", SOCKET_HOST),
        ("unix://ada:a@/run/redis.sock", SOCKET_HOST),
        ("redis://cache?protocol=3", PROTOCOL),
        ("redis://cache?unheard=1", PARAMETER),
        (
            "redis://cache?ssl_cert_reqs=none",
            foreign("ssl_cert_reqs", CERTIFICATES),
        ),
        (
            "redis://cache?socket_timeout=5",
            foreign("socket_timeout", TIMEOUT),
        ),
        (
            "redis://cache?password=a",
            foreign("password", "redis://USER:PASSWORD@HOST"),
        ),
    ] {
        assert_eq!(
            normal(text).map(|url| url.to_string()),
            Err(error),
            "{text}"
        );
    }
}

#[test]
fn unescaped_password_is_refused_and_not_shown() {
    for character in [
        "@x/", "/", "#", "?", "1/", "1#", "1?", "x@1/y", "x@y#", "x@y?",
    ] {
        for text in [
            format!("redis://:{character}S@cache"),
            format!("redis://ada:{character}S@cache:6379/1"),
        ] {
            let error = normal(&text).map(|url| url.to_string()).unwrap_err();
            assert_eq!(error, ESCAPES, "{text}");
        }
    }
}

#[test]
fn foreign_parameters_are_lower_case_and_not_supported() {
    for (name, _) in FOREIGN {
        assert_eq!(name, name.to_ascii_lowercase());
        assert!(!["db", "database", "user", "username", "pass", "protocol"].contains(&name));
    }
}
