use super::*;
use crate::settings::parse;

fn of(text: &str) -> TrafficSettings {
    let settings = parse(text).unwrap();
    settings.traffic.into_values().next().unwrap()
}

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

#[test]
fn each_provider_has_its_keys_and_defaults() {
    let TrafficSettings::HaProxy(haproxy) = of("[traffic.erp]\nprovider = \"haproxy\"\nservers = { web-1 = \"w1\" }\n") else { panic!() };
    assert_eq!((haproxy.socket.to_str(), haproxy.backend.as_str()), (Some("/run/haproxy/admin.sock"), "erp"));
    assert_eq!((haproxy.server(&host("web-1")), haproxy.server(&host("web-2"))), ("w1", "web-2"));

    let TrafficSettings::Nginx(nginx) =
        of("[traffic.shop]\nprovider = \"nginx\"\nservers = { web-1 = \"10.0.0.11:8080\" }\noptions = [\"least_conn\"]\n")
    else {
        panic!()
    };
    assert_eq!((nginx.upstream.as_str(), nginx.file.to_str()), ("shop", Some("/etc/nginx/conf.d/roadstead-shop.conf")));
    assert_eq!(nginx.servers, BTreeMap::from([(host("web-1"), "10.0.0.11:8080".to_owned())]));
    assert_eq!(nginx.options, ["least_conn"]);

    let TrafficSettings::Command(command) =
        of("[traffic.blog]\nprovider = \"command\"\ncommand = [\"/usr/local/sbin/elb\", \"--group\", \"blog\"]\n")
    else {
        panic!()
    };
    assert_eq!((command.words.len(), command.within, command.user), (3, Duration::from_secs(60), None));
    let whole = "[traffic.blog]\nprovider = \"command\"\ncommand = [\"/bin/elb\"]\nwithin = \"2m\"\nuser = \"deploy\"\n";
    let TrafficSettings::Command(command) = of(whole) else { panic!() };
    assert_eq!((command.within, command.user.as_deref()), (Duration::from_secs(120), Some("deploy")));
}

/// The mistakes of a section's lines, each with the line that it is of.
#[test]
fn mistakes_are_told_with_their_place() {
    let long = format!("socket = \"/{}\"", "s".repeat(120));
    let lines: [(&str, &str); 32] = [
        ("haproxy", "port = 80"),
        ("haproxy", "command = [\"/bin/x\"]"),
        ("haproxy", "sokcet = \"/run/x\""),
        ("haproxy", "socket = \"run/haproxy.sock\""),
        ("haproxy", "socket = \"/run/../x\""),
        ("haproxy", &long),
        ("haproxy", "socket = 5"),
        ("haproxy", "backend = \"erp/w1\""),
        ("haproxy", "backend = \"erp; shutdown sessions server\""),
        ("haproxy", "backend = \"\""),
        ("haproxy", "servers = { web-1 = \"w1\\nset server erp/w2 state maint\" }"),
        ("haproxy", "servers = { web-1 = \"w 1\" }"),
        ("haproxy", "servers = { web-1 = \"w\\\"1\" }"),
        ("haproxy", "servers = { web-1 = \"w1\", web-2 = \"w1\" }"),
        ("haproxy", "servers = { \"web 1\" = \"w1\" }"),
        ("nginx", "socket = \"/run/x\""),
        ("nginx", "upstream = \"shop {\""),
        ("nginx", "file = \"conf.d/shop.conf\""),
        ("nginx", "file = \"/etc/nginx/\\n\""),
        ("nginx", ""),
        ("nginx", "servers = { web-1 = \"unix:/run/web.sock\" }"),
        ("nginx", "servers = { web-1 = \"10.0.0.11\" }"),
        ("nginx", "servers = { web-1 = \"10.0.0.11:80; } include /etc/passwd\" }"),
        ("nginx", "servers = { web-1 = \"10.0.0.11:80\" }\noptions = [\"keepalive 32;\"]"),
        ("nginx", "servers = { web-1 = \"10.0.0.11:80\" }\noptions = [\"least_conn\", \"a\\nb\"]"),
        ("nginx", "servers = { web-1 = \"10.0.0.11:80\" }\noptions = [\"server 10.0.0.1:80\"]"),
        ("command", ""),
        ("command", "command = [\"elb\"]"),
        ("command", "command = []"),
        ("command", "command = [\"/bin/elb\"]\nwithin = \"1h\""),
        ("command", "command = [\"/bin/elb\"]\nuser = \"deploy;\""),
        ("command", "command = [\"/bin/elb\"]\nbackend = \"x\""),
    ];
    let mut told = String::new();
    for (provider, line) in lines {
        let mistake = parse(&format!("[traffic.erp]\nprovider = \"{provider}\"\n{line}\n")).unwrap_err();
        let line: String = line.chars().take(80).collect();
        told.push_str(&format!("{provider}: {line}\n    {mistake}\n"));
    }
    for text in ["[traffic.erp]\n", "[traffic.erp]\nprovider = \"haprox\"\n", "[traffic.\"../x\"]\nprovider = \"nginx\"\n"] {
        told.push_str(&format!("{}\n    {}\n", text.trim_end(), parse(text).unwrap_err()));
    }
    insta::assert_snapshot!(told);
}
