//! User under which a process that pidtap starts runs.
//!
//! `sudo` is meant for pidtap. Processes that pidtap starts run with the IDs of the user who called `sudo` and without
//! capabilities, so that their files belong to that user and their faults do not run as root.

use std::{env, ffi::CString, fmt, path::PathBuf};

use nix::unistd::{self, User};
use rustix::{
    fs::{Gid, Uid},
    io::{self, Errno},
    process::{getegid, geteuid, getgid, getgroups, getuid},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities, set_thread_groups,
        set_thread_res_gid, set_thread_res_uid,
    },
};
use thiserror::Error;

use crate::{host::process::ExitClass, text::escape::Visible};

/// IDs of a user and its entry in the user database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User ID and group IDs.
    pub ids: Ids,
    /// Entry in the user database; `None` if the user has none.
    pub entry: Option<Entry>,
}

/// IDs that a process runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// User ID.
    pub uid: u32,
    /// Primary group ID.
    pub gid: u32,
    /// IDs of the supplementary groups.
    pub groups: Vec<u32>,
}

/// Entry of the user database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Login name.
    pub name: String,
    /// Home directory.
    pub home: PathBuf,
    /// Login shell.
    pub shell: PathBuf,
}

/// Reason why the user for a process is unknown.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IdentityError {
    /// The user does not exist.
    #[error("unknown user `{name}` (--user); `getent passwd` lists all users")]
    Unknown {
        /// Name as typed.
        name: String,
    },
    /// The user database cannot be read.
    #[error("cannot look up user `{name}`: {reason}; check the user database (`getent passwd {name}`)")]
    Database {
        /// Name as typed, or user ID.
        name: String,
        /// Error of the look-up.
        reason: String,
    },
    /// A variable that `sudo` sets holds no ID.
    #[error(
        "cannot determine the user for the command: {variable} is {value:?}, which is not an id; specify the user \
         with `--user NAME`"
    )]
    Environment {
        /// Name of the variable.
        variable: &'static str,
        /// Value of the variable.
        value: String,
    },
    /// The variables that `sudo` sets contradict each other or the user database, so `sudo` did not set them.
    #[error(
        "cannot determine the user for the command: SUDO_UID, SUDO_GID and SUDO_USER are inconsistent: {reason}; \
         specify the user with `--user NAME`"
    )]
    Contradiction {
        /// Description of the contradiction.
        reason: String,
    },
    /// Only root can become another user.
    #[error("cannot run a command as `{name}`: pidtap was not started by root; start it with `sudo`, or omit --user")]
    NotRoot {
        /// Name as typed.
        name: String,
    },
}

impl IdentityError {
    /// Class of the error for the exit status.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::NotRoot { .. } => ExitClass::NotPermitted,
            Self::Unknown { .. } | Self::Database { .. } | Self::Environment { .. } | Self::Contradiction { .. } => {
                ExitClass::Usage
            }
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(entry) => write!(f, "{} (user {})", Visible(&entry.name), self.ids.uid),
            None => write!(f, "user {}", self.ids.uid),
        }
    }
}

impl Identity {
    /// User under which the command of `run` runs; `None` for pidtap's own user.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] if the user is unknown or not permitted.
    pub fn of_command(user: Option<&str>) -> Result<Option<Self>, IdentityError> {
        let Some(name) = user else { return Self::of_caller() };
        let identity = Self::of_entry(look_up(name)?)?;
        let own = getuid().as_raw();
        if identity.ids.uid == own {
            return Ok(None);
        }
        if own != 0 {
            return Err(IdentityError::NotRoot { name: name.to_owned() });
        }
        Ok(Some(identity))
    }

    /// User who called `sudo`; `None` if root did, or if `sudo` was not used. Without root the variables mean nothing.
    ///
    /// The variables may have another source (a service, `su -m`, a script). They count only if they agree with each
    /// other and with the user database.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Environment`] and [`IdentityError::Contradiction`] if the variables are invalid.
    pub fn of_caller() -> Result<Option<Self>, IdentityError> {
        if !getuid().is_root() {
            return Ok(None);
        }
        let (uid, gid, name) = (id("SUDO_UID")?, id("SUDO_GID")?, env::var_os("SUDO_USER"));
        let contradiction = |reason: String| Err(IdentityError::Contradiction { reason });
        let Some(uid) = uid else {
            let is_there = gid.is_some() || name.is_some();
            return if is_there { contradiction("SUDO_UID is missing".to_owned()) } else { Ok(None) };
        };
        let failed = |error: nix::Error| IdentityError::Database { name: uid.to_string(), reason: error.to_string() };
        let user = User::from_uid(uid.into()).map_err(failed)?;
        if let Some(name) = name.map(|name| name.to_string_lossy().into_owned()) {
            // Several names may share one user ID.
            let named = if name.contains('\0') { None } else { User::from_name(&name).map_err(failed)? };
            let uid_of_name = named.map(|user| user.uid.as_raw());
            if uid_of_name != user.as_ref().map(|user| user.uid.as_raw()) {
                let is = uid_of_name.map_or("no user".to_owned(), |uid| format!("user {uid}"));
                return contradiction(format!("SUDO_UID is {uid}, and SUDO_USER {name:?} is {is}"));
            }
        }
        if uid == 0 {
            return Ok(None);
        }
        match (user, gid) {
            (Some(mut user), gid) => {
                let known = Self::of_entry(user.clone())?.ids;
                user.gid = gid.map_or(user.gid, Into::into);
                let gid = user.gid.as_raw();
                if gid != known.gid && !known.groups.contains(&gid) {
                    return contradiction(format!("user {uid} is not in group {gid}, which SUDO_GID names"));
                }
                Self::of_entry(user).map(Some)
            }
            (None, Some(0)) => contradiction(format!("user {uid} is unknown, and SUDO_GID is the group of root")),
            (None, Some(gid)) => Ok(Some(Self { ids: Ids { uid, gid, groups: vec![gid] }, entry: None })),
            (None, None) => contradiction(format!("user {uid} is unknown, and SUDO_GID is missing")),
        }
    }

    /// The user `nobody`, for processes that need no rights of any user.
    pub fn nobody() -> Self {
        /// User ID that the kernel uses for unmapped IDs (`DEFAULT_OVERFLOWUID` in `include/linux/highuid.h`).
        const NOBODY: u32 = 65_534;
        Self { ids: Ids { uid: NOBODY, gid: NOBODY, groups: Vec::new() }, entry: None }
    }

    fn of_entry(user: User) -> Result<Self, IdentityError> {
        let failed = |reason: String| IdentityError::Database { name: user.name.clone(), reason };
        let name = CString::new(user.name.clone()).map_err(|error| failed(error.to_string()))?;
        let groups = unistd::getgrouplist(&name, user.gid).map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            ids: Ids {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
                groups: groups.into_iter().map(unistd::Gid::as_raw).collect(),
            },
            entry: Some(Entry { name: user.name, home: user.dir, shell: user.shell }),
        })
    }

    /// Environment variables of the user. A user without an entry gets neutral values, so that none of root's remain.
    pub fn environment(&self) -> [(&'static str, PathBuf); 4] {
        let entry = self.entry.clone().unwrap_or_else(|| Entry {
            name: self.ids.uid.to_string(),
            home: "/".into(),
            shell: "/bin/sh".into(),
        });
        let name = PathBuf::from(entry.name);
        let shell = if entry.shell.as_os_str().is_empty() { "/bin/sh".into() } else { entry.shell };
        [("HOME", entry.home), ("USER", name.clone()), ("LOGNAME", name), ("SHELL", shell)]
    }
}

/// ID in a variable that `sudo` sets.
fn id(variable: &'static str) -> Result<Option<u32>, IdentityError> {
    let Some(value) = env::var_os(variable) else { return Ok(None) };
    let value = value.to_string_lossy();
    parse_id(&value).map(Some).ok_or_else(|| IdentityError::Environment { variable, value: value.into_owned() })
}

/// Parses digits. Rejects the highest number, which `setresuid` interprets as "unchanged".
fn parse_id(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| is_number && *id != u32::MAX)
}

/// Looks up a user by name, as `chown` does, then by ID.
fn look_up(name: &str) -> Result<User, IdentityError> {
    let failed = |error: nix::Error| IdentityError::Database { name: name.to_owned(), reason: error.to_string() };
    let unknown = || IdentityError::Unknown { name: name.to_owned() };
    if name.contains('\0') {
        return Err(unknown());
    }
    if let Some(user) = User::from_name(name).map_err(failed)? {
        return Ok(user);
    }
    let uid = parse_id(name).ok_or_else(unknown)?;
    User::from_uid(uid.into()).map_err(failed)?.ok_or_else(unknown)
}

impl Ids {
    /// Permanently changes the calling thread to this user: groups first, as that needs root, the user last. Then
    /// checks that no privileges of root remain.
    ///
    /// # Errors
    ///
    /// The error of the kernel; `EPERM` also if privileges remain.
    pub fn take(&self) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<Gid> = self.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        if !uid.is_root() {
            // The kernel does the same unless securebits prevent it.
            let _ = clear_ambient_capability_set();
            let none = CapabilitySet::empty();
            set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
        }
        if self.is_taken()? { Ok(()) } else { Err(Errno::PERM) }
    }

    fn is_taken(&self) -> io::Result<bool> {
        let mut groups: Vec<u32> = getgroups()?.into_iter().map(Gid::as_raw).collect();
        let mut wanted = self.groups.clone();
        for list in [&mut groups, &mut wanted] {
            list.sort_unstable();
            list.dedup();
        }
        let sets = capabilities(None)?;
        let is_free = self.uid == 0 || (sets.effective.is_empty() && sets.permitted.is_empty());
        let users = [getuid(), geteuid()].map(Uid::as_raw) == [self.uid; 2];
        let all_groups = [getgid(), getegid()].map(Gid::as_raw) == [self.gid; 2];
        Ok(users && all_groups && groups == wanted && is_free)
    }
}

/// Form for the command line: `UID:GID:GROUP,GROUP`.
impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        write!(f, "{}:{}:{}", self.uid, self.gid, groups.join(","))
    }
}

impl std::str::FromStr for Ids {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected UID:GID:GROUP,GROUP";
        let mut parts = text.split(':');
        let (Some(uid), Some(gid), Some(groups), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(WRONG);
        };
        let groups = groups.split(',').filter(|group| !group.is_empty()).map(parse_id).collect::<Option<_>>();
        let (uid, gid) = (parse_id(uid), parse_id(gid));
        Ok(Self { uid: uid.ok_or(WRONG)?, gid: gid.ok_or(WRONG)?, groups: groups.ok_or(WRONG)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_digits_alone() {
        assert_eq!((parse_id("0"), parse_id("1000")), (Some(0), Some(1000)));
        for wrong in ["", "-1", "+1", "4294967295", "4294967296", "1 ", "0x1", "root"] {
            assert_eq!(parse_id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ids_come_back_from_a_command_line() {
        for groups in [vec![], vec![1000], vec![4, 27, 1000]] {
            let ids = Ids { uid: 1000, gid: 100, groups };
            assert_eq!(ids.to_string().parse(), Ok(ids));
        }
        for wrong in ["", "1", "1:2", "1:2:3:4", "a:2:3", "1::3", "1:2:x", "4294967295:1:"] {
            assert!(wrong.parse::<Ids>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let root = look_up("root").expect("root is there");
        assert_eq!(root.uid.as_raw(), 0);
        assert_eq!(look_up("0").map(|user| user.name), Ok("root".to_owned()));
        for unknown in ["no-such-user", "", "4294967294", "a\0b"] {
            assert!(matches!(look_up(unknown), Err(IdentityError::Unknown { .. })), "{unknown:?}");
        }
    }

    #[test]
    fn nothing_of_root_is_left_in_the_environment_of_a_user_that_the_database_does_not_know() {
        let values = Identity::nobody().environment().map(|(name, value)| format!("{name}={}", value.display()));
        assert_eq!(values, ["HOME=/", "USER=65534", "LOGNAME=65534", "SHELL=/bin/sh"]);
    }
}
