//! Secrets in every place where programs put them. One secret is in several places.

use super::{
    http::{JSON, get, json, message, post, send},
    stage::{MS, S, Stage, Who},
};

const HOST: &str = "api.bank.example";
const FORM: &str = "application/x-www-form-urlencoded";
/// The same secret in calls that belong together.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P";

pub(super) fn recording() -> Vec<u8> {
    let pid = 3310;
    let mut stage = Stage::new(100 * MS, &[(pid, b"teller")]);
    let mut line = stage.client(Who { pid, tid: pid }, ([198, 51, 100, 9], 80));
    line.at(200 * MS).opens(8 * MS);
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let login = br"grant_type=password&username=ada&password=correct%20horse&client_secret=c0ffee-4711";
    let token = format!(r#"{{"access_token":"{TOKEN}","refresh_token":"rt-8f14e45fceea167a","expires_in":3600}}"#);
    let cookie = message(
        "HTTP/1.1 200 OK",
        &[
            "Content-Type: application/json",
            "Set-Cookie: session=2f1c9a7be5d04f6f; Path=/; HttpOnly",
            "Set-Cookie: theme=dark",
            "Content-Length: 2",
        ],
        b"{}",
    );
    let payment =
        r#"{"card":{"number":"4242424242424242","cvc":"737"},"api_key":"sk_live_51HxAbCdEf","note":"for tea"}"#;
    let calls: [(Vec<u8>, Vec<u8>); 9] = [
        (send("POST", "/oauth/token", HOST, FORM, login), json("200 OK", &token)),
        (get("/v1/accounts", HOST, &[&bearer]), cookie),
        (
            get("/v1/accounts/42", HOST, &[&bearer, "Cookie: session=2f1c9a7be5d04f6f; theme=dark"]),
            json("200 OK", r#"{"balance":12}"#),
        ),
        (get(&format!("/v1/files/7?access_token={TOKEN}&size=large"), HOST, &[]), json("200 OK", "{}")),
        (
            get("/v1/rates?api_key=AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY", HOST, &[]),
            json("200 OK", r#"{"eur":1.08}"#),
        ),
        (
            get("/v1/rates", HOST, &["X-Api-Key: AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY"]),
            json("200 OK", r#"{"eur":1.08}"#),
        ),
        (
            get("/admin", HOST, &["Authorization: Basic YWRhOmNvcnJlY3QgaG9yc2U="]),
            json("403 Forbidden", r#"{"error":"no"}"#),
        ),
        (
            post("/v1/payments", HOST, payment),
            json("201 Created", r#"{"id":"pay_1","client_secret":"pi_secret_77aa"}"#),
        ),
        (
            send(
                "PUT",
                "/v1/password",
                HOST,
                JSON,
                br#"{"old_password":"correct horse","new_password":"battery staple"}"#,
            ),
            json("200 OK", "{}"),
        ),
    ];
    for (request, answer) in calls {
        line.wait(400 * MS).asks(&request).wait(35 * MS).answers(&answer);
    }
    stage.plays(line);
    stage.ends(6 * S)
}
