use super::*;

const STAT: &str = "# pxname,svname,qcur,qmax,scur,smax,status,weight,last_chk,\n\
    erp,w1,2,2,7,9,UP,64,\"Layer7 \"\"OK\"\", passed\",\n\
    erp,web-2,,,0,0,DOWN,1,,\n\
    erp,web-3,0,0,3,3,no check,1,,\n\
    erp,BACKEND,9,9,9,9,UP,65,,\n\n";
const STATE: &str = "1\n\
    # be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change\n\
    3 erp 1 w1 127.0.0.1 2 0 16 64 190\n\
    3 erp 2 web-2 127.0.0.1 0 8 1 1 190\n\
    3 erp 3 web-3 127.0.0.1 2 5 1 1 190\n\n";

#[test]
fn both_answers_make_the_servers() {
    let servers = read("erp", STAT, STATE).unwrap();
    let w1 = Server { up: true, in_maintenance: false, drained: false, weight: 16, full_weight: 64, in_flight: 9 };
    assert_eq!(servers["w1"], w1);
    assert_eq!(servers["web-2"], Server { up: false, drained: true, weight: 1, full_weight: 1, ..Server::default() });
    assert!(servers["web-3"].in_maintenance && servers["web-3"].in_flight == 3);
    assert_eq!(servers.len(), 3);
    assert!(read("shop", STAT, STATE).unwrap().is_empty(), "another backend's");
}

#[test]
fn columns_are_found_by_their_names() {
    let stat = "# svname,scur,new,qcur,pxname\nw1,5,x,1,erp\n\n";
    let state = "2\n# srv_iweight srv_uweight srv_name be_name srv_admin_state srv_op_state\n100 50 w1 erp 16 1\n\n";
    let server = Server { up: true, in_maintenance: false, drained: true, weight: 50, full_weight: 100, in_flight: 6 };
    assert_eq!(read("erp", stat, state).unwrap(), BTreeMap::from([("w1".to_owned(), server)]));
}

#[test]
fn what_cannot_be_read_is_told() {
    let told = |stat: &str, state: &str| read("erp", stat, state).unwrap_err().to_string();
    assert_eq!(told("No such proxy.\n\n", STATE), "show stat answers what cannot be read: \"No such proxy.\"");
    assert_eq!(told(STAT, "Can't find backend.\n\n"), "show servers state answers what cannot be read: \"Can't find backend.\"");
    assert_eq!(told("", STATE), "show stat answers what cannot be read: \"\"");
    assert!(told("# pxname,svname,qcur\n", STATE).ends_with("it has no column scur"));
    assert!(told("# pxname,svname,qcur,scur\nerp,w1\n", STATE).ends_with("a line is cut: \"erp,w1\""));
    assert!(told("# pxname,svname,qcur,scur\nerp,w1,0,-1\n", STATE).ends_with("\"-1\" is no number"));
    assert!(told("# pxname,svname,qcur,scur\nerp,w1,0,0\nerp,w1,0,0\n", STATE).ends_with("twice"));
    assert!(told("# pxname,svname,qcur,scur\nerp,w1,0,0\n", STATE).ends_with("the server \"web-2\" is not in it"));
    let cut = &STATE[..STATE.len() - 10];
    assert!(told(STAT, cut).ends_with("a line is cut: \"3 erp 3 web-3 127.0.0.1 2 5\""), "{}", told(STAT, cut));
    let twice = format!("{}3 erp 1 w1 127.0.0.1 2 0 16 64 190\n", STATE.trim_end_matches('\n').to_owned() + "\n");
    assert!(told(STAT, &twice).ends_with("twice"));
    let big = u32::MAX;
    let stat = format!("# pxname,svname,qcur,scur\nerp,w1,{big},{big}\n");
    let state = "# be_name srv_name srv_op_state srv_admin_state srv_uweight srv_iweight\nerp w1 2 0 1 1\n";
    assert_eq!(read("erp", &stat, state).unwrap()["w1"].in_flight, big, "it does not run over");
}
