//! The words of names, for [`judge`](super::name::judge). In lines, not one below the other.

/// Words after the name of a secret that mean a fact about it, not the secret.
#[rustfmt::skip]
pub(super) const ABOUT: &[&str] = &[
    "type", "types", "count", "counts", "length", "len", "size", "url", "uri", "urls", "uris", "endpoint", "expires",
    "expire", "expired", "expiry", "expiration", "ttl", "timeout", "duration", "lifetime", "age", "at", "date",
    "time", "timestamp", "policy", "required", "enabled", "disabled", "algorithm", "alg", "algo", "method", "methods",
    "mode", "status", "limit", "max", "min", "strength", "score", "usage", "used", "remaining", "budget", "scheme",
    "provider", "issuer", "exists", "valid", "verified", "changed", "updated", "created", "in", "scope", "scopes",
    "format", "index", "position", "rate", "cost", "price", "name", "names", "supported", "kind", "level", "path",
    "domain", "input", "version", "ref", "refs", "symbol", "decimals", "decimal", "balance", "supply", "get", "create", "attempts", "retries", "consent", "challenge", "algorithms", "rotation", "page",
    "samesite",
];

/// These say it directly behind the word, whatever follows: `token_type_hint`.
#[rustfmt::skip]
pub(super) const ABOUT_NEXT: &[&str] = &[
    "type", "types", "count", "endpoint", "policy", "expiry", "expires", "lifetime", "ttl",
];

/// Words that make a secret of a `key`: `api_key`, `licenceKey`.
#[rustfmt::skip]
pub(super) const KEYS: &[&str] = &[
    "api", "access", "secret", "private", "priv", "auth", "authorization", "license", "licence", "encryption", "encrypt",
    "decryption", "signing", "sign", "signature", "subscription", "function", "functions", "master", "account",
    "shared", "storage", "service", "ssh", "hmac", "rsa", "aes", "client", "app", "application", "admin", "root",
    "webhook", "deploy", "session", "server", "write", "recovery", "unlock", "connection", "token", "crypto", "pgp",
    "gpg", "tls", "ssl", "merchant", "integration", "stream", "wallet", "seed", "activation", "security", "customer",
    "reset", "symmetric", "jwt", "hash", "vault", "login", "ecdsa", "wrapping", "ingest", "sas", "developer",
    "partner", "verification",
];

/// Words that make a secret of a `code`: `verification_code`.
#[rustfmt::skip]
pub(super) const CODES: &[&str] = &[
    "oob", "auth", "authorization", "authentication", "authorisation", "access", "verification", "verify", "security", "otp",
    "sms", "login", "signin", "pin", "mfa", "fa", "factor", "totp", "backup", "recovery", "reset", "invite",
    "invitation", "activation", "confirmation", "confirm", "device", "user", "pass", "secret", "oauth", "time",
    "unlock", "pairing", "cvv", "card", "validation", "sso", "magic",
];

/// Words for cursors of lists.
#[rustfmt::skip]
pub(super) const CURSORS: &[&str] = &[
    "page", "next", "continuation", "sync", "paging", "cursor", "prev", "previous", "pagination", "skip", "resume",
    "delta", "change", "scroll",
];

/// Language models count so.
#[rustfmt::skip]
pub(super) const COUNTED: &[&str] = &[
    "max", "min", "total", "reset", "prompt", "completion", "input", "output", "cached", "reasoning", "num", "used",
    "remaining", "limit", "audio", "text", "thinking", "image", "accepted", "rejected", "prediction", "new", "budget",
];

/// Behind `auth`, `session`, `cookie`, `pin`: what is the secret itself.
#[rustfmt::skip]
pub(super) const ITSELF: &[&str] = &[
    "id", "key", "token", "hash", "header", "value", "string", "str", "data", "cookie", "secret", "pass", "info",
    "param", "params", "blob", "payload", "response", "ticket", "sig", "state", "sid", "code", "number", "no", "num",
    "block", "digits", "jar", "bin", "ref", "uuid", "plain", "text", "encoded", "raw",
];

/// Before `sid`: Twilio's `account_sid` is a name.
#[rustfmt::skip]
pub(super) const SESSIONS: &[&str] = &[
    "connect", "session", "user", "php", "koa", "express", "login", "sess", "auth", "web", "s", "host", "secure",
    "sso", "app", "cookie",
];

/// The word for `password` elsewhere, alone or in a longer word, where it means nothing else.
#[rustfmt::skip]
pub(super) const PASSWORDS: &[&str] = &[
    "password", "passwd", "passphrase", "passwort", "kennwort", "contrasen", "contraseñ", "motdepasse", "wachtwoord",
    "adgangskode", "salasana", "lösenord", "losenord", "пароль", "Пароль", "密码", "密碼", "パスワード", "비밀번호",
];

/// Words that are one whole.
#[rustfmt::skip]
pub(super) const WHOLE: &[&str] = &[
    "userpass", "dbpass", "adminpass", "rootpass", "loginpass", "smtppass", "mailpass", "ftppass", "sshpass",
    "mysqlpass", "pgpass", "newpass", "oldpass", "mypass", "authpass", "haslo", "heslo", "senha", "sifre", "jelszo",
    "userpw", "adminpw", "dbpw", "rootpw", "loginpw", "newpw", "oldpw", "mypw", "phpsession", "usersession", "authcookie",
    "sessioncookie", "logincookie", "credentials", "usercredentials", "sesskey", "privkey",
];

/// Before `ticket`.
#[rustfmt::skip]
pub(super) const TICKETS: &[&str] = &[
    "sso", "login", "service", "auth", "session", "cas", "access", "granting", "proxy", "kerberos", "api", "js",
    "jsapi",
];
