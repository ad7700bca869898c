//! The committed corpora, where short runs of the fuzzers start. Each target has a file with its inputs; a length of four bytes, in
//! little endian, precedes each input.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};

/// Upper bound for the bytes of a file.
const MOST: usize = 300_000;

/// Writes the inputs of a file into a folder. A missing file has no inputs.
pub(crate) fn unpack(file: &Path, folder: &Path) -> anyhow::Result<()> {
    if !file.exists() {
        return Ok(());
    }
    let packed = fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    for (number, input) in inputs(&packed).with_context(|| file.display().to_string())?.into_iter().enumerate() {
        let path = folder.join(format!("kept-{number}"));
        fs::write(&path, input).with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(())
}

fn inputs(packed: &[u8]) -> anyhow::Result<Vec<&[u8]>> {
    let mut inputs = Vec::new();
    let mut rest = packed;
    while !rest.is_empty() {
        let Some((length, after)) = rest.split_first_chunk() else { bail!("it ends inside a length") };
        let Some((input, after)) = after.split_at_checked(u32::from_le_bytes(*length) as usize) else {
            bail!("it ends inside an input");
        };
        inputs.push(input);
        rest = after;
    }
    Ok(inputs)
}

/// Packs the files of a folder into one, the smallest first, up to the bound. Returns their number.
pub(crate) fn pack(folder: &Path, file: &Path) -> anyhow::Result<usize> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("could not read {}", folder.display()))? {
        inputs.push(fs::read(entry?.path())?);
    }
    let (packed, count) = packed(inputs);
    fs::write(file, packed).with_context(|| format!("could not write {}", file.display()))?;
    Ok(count)
}

fn packed(mut inputs: Vec<Vec<u8>>) -> (Vec<u8>, usize) {
    // Sorted: the same inputs make the same file.
    inputs.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    let (mut packed, mut count) = (Vec::new(), 0);
    for input in inputs {
        let Ok(length) = u32::try_from(input.len()) else { break };
        if packed.len() + 4 + input.len() > MOST {
            break;
        }
        packed.extend_from_slice(&length.to_le_bytes());
        packed.extend_from_slice(&input);
        count += 1;
    }
    (packed, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_out_and_is_bounded() {
        let some = vec![b"longer".to_vec(), Vec::new(), b"b".to_vec(), b"a".to_vec()];
        let (file, count) = packed(some);
        assert_eq!((inputs(&file).expect("whole"), count), (vec![&b""[..], b"a", b"b", b"longer"], 4));
        let (file, count) = packed(vec![vec![0; 200_000], vec![1; 200_000], vec![2; 10]]);
        assert_eq!((file.len(), count), (200_018, 2));
        for cut in [1, 3, 5] {
            inputs(&file[..cut]).expect_err("it is cut off");
        }
    }

    #[test]
    fn the_files_of_the_repository_are_whole() {
        for target in crate::fuzz::TARGETS {
            let file = crate::fuzz::kept(target);
            let packed = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let inputs = inputs(&packed).unwrap_or_else(|error| panic!("{target}: {error}"));
            assert!(!inputs.is_empty() && packed.len() <= MOST, "{target}");
        }
    }
}
