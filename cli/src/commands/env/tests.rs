use super::*;

#[test]
fn an_environment_of_several_apps_needs_its_app() {
    let environment = |app: &str| Environment { name: "staging".into(), app: app.into(), ..Default::default() };
    let both = || vec![environment("erp"), environment("shop")];
    assert_eq!(one(both(), "staging", "shop").unwrap().app, "shop");
    assert!(one(both(), "staging", "").unwrap_err().hint.unwrap().contains("erp, shop"));
    assert!(one(Vec::new(), "x", "").unwrap_err().summary.contains("no environment"));
}
