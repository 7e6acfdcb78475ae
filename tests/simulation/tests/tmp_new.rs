//! tmp
use simulation::all_scenarios;
#[test]
fn tmp() {
    let want = std::env::var("WANT").unwrap_or_default();
    let names = include_str!("losses.rs");
    std::panic::set_hook(Box::new(|_| {}));
    for s in all_scenarios() {
        if !names.contains(&format!("    {}\n", s.name)) || !s.name.contains(&want) {
            continue;
        }
        println!("{}: sound {:?}", s.name, s.play(None));
        for m in s.catches {
            println!("      {}: {:?}", m.name(), s.play(Some(*m)));
        }
    }
}
