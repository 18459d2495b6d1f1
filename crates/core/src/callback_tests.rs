use super::*;

fn list(entries: &[&str]) -> AllowList {
    AllowList::parse(entries.iter().copied()).unwrap()
}

fn is_allowed(list: &AllowList, url: &str) -> bool {
    CallbackUrl::parse(url).is_ok_and(|url| list.allows(url.origin()))
}

#[test]
fn listed_hosts_are_allowed_at_their_port_by_https() {
    let list = list(&["hooks.example", "Build.Example:8443", "1.1.1.1"]);
    for (url, expected) in [
        ("https://hooks.example", true),
        ("https://hooks.example/", true),
        ("https://hooks.example?x=1", true),
        ("https://HOOKS.example:443/a/b?c=d&e=%20", true),
        ("https://build.example:8443/x", true),
        ("https://1.1.1.1/", true),
        ("https://hooks.example:444/", false),
        ("https://hooks.example:25/", false),
        ("https://build.example/", false),
        ("https://sub.hooks.example/", false),
        ("https://hooks.example.evil.example/", false),
        ("https://hooks.example./", false),
        ("http://hooks.example/", false),
        ("http://hooks.example:443/", false),
        ("https://1.1.1.2/", false),
    ] {
        assert_eq!(is_allowed(&list, url), expected, "{url}");
    }
}

/// Row B20 of the bad-input matrix, and its neighbours.
#[test]
fn what_is_not_listed_is_refused_in_every_notation() {
    let list = list(&["hooks.example"]);
    for url in [
        "",
        "hooks.example",
        "//hooks.example/",
        "http://127.0.0.1",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://localhost/",
        "http://a@b",
        "https://a@hooks.example/",
        "https://hooks.example@evil.example/",
        "https://hooks.example:443@evil.example/",
        "https://evil.example#hooks.example",
        "https://evil.example\\@hooks.example/",
        "https://hooks.example\\.evil.example/",
        "https://hooks.example /",
        "https://hooks.example\t/",
        "https://hooks.example/\r\nHost: evil.example",
        "https://hooks.example/#x",
        "https://hooks.example:",
        "https://hooks.example:0443/",
        "https://hooks.example:+443/",
        "https://hooks.example:0/",
        "https://hooks.example:65979/",
        "https://hooks%2eexample/",
        "https://höoks.example/",
        "https://ｈooks.example/",
        "https:hooks.example/",
        "https:///hooks.example/",
        "HTTPS://hooks.example/",
        "file:///etc/passwd",
        "gopher://hooks.example/",
        "ftp://hooks.example/",
        "javascript:alert(1)",
    ] {
        assert!(!is_allowed(&list, url), "{url}");
    }
}

#[test]
fn a_receiver_on_this_machine_is_listed_as_such() {
    let list = list(&["http://127.0.0.1:9000", "https://[::1]:9443"]);
    for (url, expected) in [
        ("http://127.0.0.1:9000/x", true),
        ("https://[::1]:9443/x", true),
        ("https://127.0.0.1:9000/x", false),
        ("http://127.0.0.1/x", false),
        ("http://127.0.0.2:9000/x", false),
        ("http://localhost:9000/x", false),
        ("http://0x7f000001:9000/x", false),
        ("http://127.1:9000/x", false),
        ("http://[::ffff:7f00:1]:9000/x", false),
        ("https://[0:0:0:0:0:0:0:1]:9443/x", false),
    ] {
        assert_eq!(is_allowed(&list, url), expected, "{url}");
    }
}

#[test]
fn entries_are_judged() {
    for entry in [
        "",
        "*",
        "*.example",
        "hooks.example/",
        "hooks.example/path",
        "a@b",
        "http://hooks.example",
        "https://hooks.example",
        "http://10.0.0.1:80",
        "http://127.0.0.1:9000/path",
        "127.0.0.1:9000",
        "10.0.0.1",
        "[::1]",
        "[2001:db8::1]",
        "hooks.example:0",
        "hooks.example:x",
        "0x7f000001",
        "-a.example",
    ] {
        let refused = AllowList::parse(["good.example", entry]).unwrap_err();
        assert_eq!(refused.0, 1, "{entry}");
    }
    let many = vec!["a.example"; MAX_ALLOWED + 1];
    assert_eq!(AllowList::parse(many).unwrap_err().0, MAX_ALLOWED);
    assert!(AllowList::parse([]).unwrap().is_empty());
}

#[test]
fn what_is_sent_is_what_was_compared() {
    for (url, origin, authority, target) in [
        (
            "https://Hooks.Example",
            "https://hooks.example",
            "hooks.example",
            "/",
        ),
        (
            "https://hooks.example?a=/b",
            "https://hooks.example",
            "hooks.example",
            "/?a=/b",
        ),
        (
            "https://hooks.example:8443/a?b",
            "https://hooks.example:8443",
            "hooks.example:8443",
            "/a?b",
        ),
        ("http://[::1]:81//x", "http://[::1]:81", "[::1]:81", "//x"),
    ] {
        let parsed = CallbackUrl::parse(url).unwrap();
        assert_eq!(parsed.origin().to_string(), origin);
        assert_eq!(parsed.origin().authority(), authority);
        assert_eq!(parsed.target(), target);
        assert_eq!(parsed.as_str(), url);
    }
}

#[test]
fn a_url_has_a_longest_length() {
    let url = |length: usize| format!("https://hooks.example/{}", "x".repeat(length - 22));
    assert_eq!(url(MAX_URL_BYTES).len(), MAX_URL_BYTES);
    assert!(CallbackUrl::parse(&url(MAX_URL_BYTES)).is_ok());
    assert!(CallbackUrl::parse(&url(MAX_URL_BYTES + 1)).is_err());
}
