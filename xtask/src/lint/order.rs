//! The order of modules: a module uses only what stands before it, and siblings never use each other in a circle.
//!
//! A file that holds nothing but module declarations (`lib.rs`, the root of a wing) is a list, and its order counts:
//! none of its modules uses a later one. Everywhere else siblings have no order, so they must be free of circles. Code for
//! tests is exempt.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, ensure};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Path of a module from the root of its crate.
type ModulePath = Vec<String>;

/// Fails with each place where a module of the crate whose sources are in `folder` uses what it must not.
pub(super) fn check(folder: &Path) -> anyhow::Result<()> {
    let modules = read(folder)?;
    let faults = faults(&modules);
    ensure!(faults.is_empty(), "modules of {} that break the order:\n  {}", folder.display(), faults.join("\n  "));
    Ok(())
}

/// One module, as its file has it.
#[derive(Default)]
struct Module {
    /// Modules that it declares, in their order, without those for tests.
    children: Vec<String>,
    /// It holds declarations of modules and nothing else.
    is_list: bool,
    /// Paths of its code, from the root of the crate. They may go on beyond a module, to an item in it.
    uses: Vec<ModulePath>,
}

fn read(folder: &Path) -> anyhow::Result<BTreeMap<ModulePath, Module>> {
    let mut modules = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("cannot list {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = module_path(path.strip_prefix(folder)?);
                let text = fs::read_to_string(&path)?;
                let tokens =
                    text.parse().map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))?;
                modules.insert(name.clone(), Module::of(tokens, &name));
            }
        }
    }
    Ok(modules)
}

fn module_path(file: &Path) -> ModulePath {
    let mut path: ModulePath = file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(path.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        path.pop();
    }
    path
}

impl Module {
    fn of(tokens: TokenStream, name: &[String]) -> Self {
        let tokens = without_tests(tokens);
        let mut module = Self { is_list: true, ..Self::default() };
        let mut rest = &tokens[..];
        while let [first, after @ ..] = rest {
            rest = match (first, after) {
                (TokenTree::Ident(word), [TokenTree::Ident(child), TokenTree::Punct(end), after @ ..])
                    if *word == "mod" && end.as_char() == ';' =>
                {
                    module.children.push(child.to_string());
                    after
                }
                // An attribute, inner or outer.
                (TokenTree::Punct(hash), [TokenTree::Group(_), after @ ..]) if hash.as_char() == '#' => after,
                (TokenTree::Punct(hash), [TokenTree::Punct(_), TokenTree::Group(_), after @ ..])
                    if hash.as_char() == '#' =>
                {
                    after
                }
                (TokenTree::Ident(word), _) if *word == "pub" => after,
                _ => {
                    module.is_list = false;
                    after
                }
            };
        }
        collect_uses(&tokens, name, &mut module.uses);
        module
    }
}

/// The tokens without items under `#[cfg(test)]`.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_hash = matches!(&token, TokenTree::Punct(hash) if hash.as_char() == '#');
        let is_test =
            |next: &TokenTree| matches!(next, TokenTree::Group(group) if group.stream().to_string() == "cfg (test)");
        if is_hash && tokens.peek().is_some_and(is_test) {
            for skipped in tokens.by_ref() {
                let ends = match &skipped {
                    TokenTree::Punct(mark) => mark.as_char() == ';',
                    TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                    _ => false,
                };
                if ends {
                    break;
                }
            }
        } else {
            kept.push(token);
        }
    }
    kept
}

/// Collects the paths that begin with `crate` or `super`, those in macros too.
fn collect_uses(tokens: &[TokenTree], module: &[String], uses: &mut Vec<ModulePath>) {
    let mut rest = tokens;
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            TokenTree::Ident(word) if *word == "crate" => collect_path(after, &[], uses),
            TokenTree::Ident(word) if *word == "super" => {
                let mut parent = &module[..module.len().saturating_sub(1)];
                while let Some([TokenTree::Ident(word), after @ ..]) = split_colons(rest)
                    && *word == "super"
                {
                    parent = &parent[..parent.len().saturating_sub(1)];
                    rest = after;
                }
                collect_path(rest, parent, uses);
            }
            TokenTree::Group(group) => collect_uses(&inside(group), module, uses),
            _ => {}
        }
    }
}

/// Collects the paths that go on from `prefix` with `::`.
fn collect_path(tokens: &[TokenTree], prefix: &[String], uses: &mut Vec<ModulePath>) {
    match split_colons(tokens) {
        Some([TokenTree::Ident(word), after @ ..]) => {
            collect_path(after, &[prefix, &[word.to_string()]].concat(), uses);
        }
        Some([TokenTree::Group(group), ..]) => {
            let inner = inside(group);
            for tree in inner.split(|token| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ',')) {
                match tree {
                    [TokenTree::Ident(word), after @ ..] => {
                        collect_path(after, &[prefix, &[word.to_string()]].concat(), uses);
                    }
                    _ => uses.push(prefix.to_vec()),
                }
            }
        }
        _ => uses.push(prefix.to_vec()),
    }
}

/// What follows `::`, if the tokens begin with that.
fn split_colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [TokenTree::Punct(first), TokenTree::Punct(second), after @ ..]
            if first.as_char() == ':' && second.as_char() == ':' =>
        {
            Some(after)
        }
        _ => None,
    }
}

fn inside(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

fn is_for_tests(path: &[String]) -> bool {
    path.iter().any(|part| part == "tests" || part == "fixture")
}

fn faults(modules: &BTreeMap<ModulePath, Module>) -> Vec<String> {
    let mut faults = Vec::new();
    // By parent: which child uses which of its siblings, and a module that shows it.
    let mut siblings: BTreeMap<&[String], BTreeMap<(&str, &str), String>> = BTreeMap::new();
    for (path, module) in modules.iter().filter(|(path, _)| !is_for_tests(path)) {
        for used in &module.uses {
            let shared = path.iter().zip(used).take_while(|(own, other)| own == other).count();
            let (Some(own), Some(other)) = (path.get(shared), used.get(shared)) else { continue };
            let parent = &path[..shared];
            let is_sibling = modules.get(parent).is_some_and(|parent| parent.children.contains(other));
            if is_sibling {
                let uses = siblings.entry(parent).or_default();
                uses.entry((own, other)).or_insert_with(|| path.join("::"));
            }
        }
    }
    for (parent, uses) in siblings {
        let Some(module) = modules.get(parent) else { continue };
        let name = if parent.is_empty() { "the crate's root".to_owned() } else { parent.join("::") };
        if module.is_list {
            let place = |child: &str| module.children.iter().position(|other| other == child);
            for ((own, other), shown) in &uses {
                if place(own) < place(other) {
                    faults.push(format!("{shown} uses {other}, which stands after {own} in {name}"));
                }
            }
        } else if let Some(circle) = circle(&uses) {
            faults.push(format!("in {name} siblings use each other in a circle: {circle}"));
        }
    }
    faults
}

/// A circle of siblings, with a module that shows each step.
fn circle(uses: &BTreeMap<(&str, &str), String>) -> Option<String> {
    let starts: BTreeSet<&str> = uses.keys().map(|(own, _)| *own).collect();
    starts.into_iter().find_map(|start| {
        // The shortest way back to the start: breadth first, with the way to each.
        let mut ways = vec![vec![start]];
        let mut seen = BTreeSet::new();
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for way in ways {
                let last = way[way.len() - 1];
                for (_, next) in uses.keys().filter(|(own, _)| *own == last) {
                    let way = [&way[..], &[next]].concat();
                    if *next == start {
                        return Some(describe(&way, uses));
                    }
                    if seen.insert(*next) {
                        longer.push(way);
                    }
                }
            }
            ways = longer;
        }
        None
    })
}

fn describe(way: &[&str], uses: &BTreeMap<(&str, &str), String>) -> String {
    let steps = way.windows(2).filter_map(|step| match step {
        [own, other] => Some(format!("{own} -> {other} ({})", uses.get(&(*own, *other))?)),
        _ => None,
    });
    steps.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(files: &[(&str, &str)]) -> BTreeMap<ModulePath, Module> {
        files
            .iter()
            .map(|(file, text)| {
                let path = module_path(Path::new(file));
                let module = Module::of(text.parse().unwrap(), &path);
                (path, module)
            })
            .collect()
    }

    #[test]
    fn a_list_is_an_order() {
        let list = "//! Doc.\n#![warn(missing_docs)]\npub mod a;\n#[cfg(feature = \"x\")]\nmod b;\nmod c;\n";
        let allowed = [
            ("lib.rs", list),
            ("a.rs", "#[cfg(test)] mod tests { use crate::c::X; }"),
            ("b/mod.rs", "use crate::{a::{self, Y}, b::own::Z};\nmod own; fn f() {}"),
            ("b/own.rs", "fn f() { vec![super::super::a::T] }"),
            ("c.rs", "pub(in crate::b) use crate::b;"),
        ];
        assert_eq!(faults(&modules(&allowed)), Vec::<String>::new());
        let broken = [
            ("lib.rs", list),
            ("a.rs", "use crate::{event::X, b::{self}};"),
            ("b/deep.rs", "g!(super::super::c::f())"),
        ];
        assert_eq!(
            faults(&modules(&broken)),
            [
                "a uses b, which stands after a in the crate's root",
                "b::deep uses c, which stands after b in the crate's root"
            ]
        );
    }

    #[test]
    fn siblings_without_a_list_may_not_form_circles() {
        let root = ("main.rs", "mod a; mod b; mod c; fn main() {}");
        let files =
            [root, ("a.rs", "use crate::b::X;"), ("b.rs", "use super::c;"), ("c.rs", "fn f() { crate::a::g() }")];
        assert_eq!(
            faults(&modules(&files)),
            ["in the crate's root siblings use each other in a circle: a -> b (a), b -> c (b), c -> a (c)"]
        );
        assert!(faults(&modules(&files[..3])).is_empty());
    }
}
