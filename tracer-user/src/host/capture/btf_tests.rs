use super::*;

/// Builder of BTF sections.
#[derive(Default)]
struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Builder {
    fn string(&mut self, text: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if text.is_empty() {
            return 0;
        }
        let offset = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        offset
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
    }

    fn plain(&mut self, kind: u32, target: u32) {
        self.words(&[0, kind << 24, target]);
    }

    fn compound(&mut self, kind: u32, name: &str, members: &[(&str, u32, u32)]) {
        let name = self.string(name);
        self.words(&[name, kind << 24 | members.len() as u32, 64]);
        for (name, member_type, bytes) in members {
            let name = self.string(name);
            self.words(&[name, *member_type, bytes * 8]);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.string("");
        let mut data = Vec::new();
        data.extend_from_slice(&MAGIC.to_ne_bytes());
        data.extend_from_slice(&[1, 0]);
        for word in [24, 0, self.types.len() as u32, self.types.len() as u32, self.strings.len() as u32] {
            data.extend_from_slice(&word.to_ne_bytes());
        }
        data.extend(self.types);
        data.extend(self.strings);
        data
    }
}

/// Types: 1 an integer, 2 an unnamed union of it, 3 a struct with that union, 4 const 3, 5 a struct that holds 4.
fn sample() -> Vec<u8> {
    let mut builder = Builder::default();
    builder.words(&[0, KIND_INT << 24, 4, 0]);
    builder.compound(KIND_UNION, "", &[("left", 1, 0), ("right", 1, 0)]);
    builder.compound(KIND_STRUCT, "inner", &[("first", 1, 0), ("", 2, 8)]);
    builder.plain(KIND_CONST, 3);
    builder.compound(KIND_STRUCT, "outer", &[("pad", 1, 0), ("common", 4, 16)]);
    builder.finish()
}

#[test]
fn members_are_found_through_names_modifiers_and_unnamed_unions() {
    let data = sample();
    let btf = Btf::parse(&data, &["inner", "outer"]).expect("good BTF");
    assert_eq!(btf.offset("inner", "first"), Ok(0));
    assert_eq!(btf.offset("inner", "right"), Ok(8));
    assert_eq!(btf.offset("outer", "common.right"), Ok(24));
}

#[test]
fn what_is_missing_is_named() {
    let data = sample();
    let btf = Btf::parse(&data, &["inner"]).expect("good BTF");
    assert_eq!(btf.offset("sock", "sk_err"), Err(BtfError::NoStructure("sock".to_owned())));
    let error = btf.offset("inner", "second").expect_err("no such member");
    assert_eq!(error.to_string(), "struct inner has no member second");
}

#[test]
fn broken_bytes_are_an_error_at_every_length() {
    let data = sample();
    for length in 0..data.len() {
        assert!(Btf::parse(&data[..length], &["inner"]).is_err(), "{length} bytes");
    }
    let mut foreign = data;
    foreign[0] ^= 0xff;
    assert!(Btf::parse(&foreign, &["inner"]).is_err());
}
