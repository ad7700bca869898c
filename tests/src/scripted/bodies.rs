//! Bodies of every kind with a layout of its own, and bodies with missing parts.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    http::{answer, empty, get, json, message, post, send},
    line::Line,
    stage::{MS, S, Stage, Who},
};

const HOST: &str = "content.example";
const ADDRESS: ([u8; 4], u16) = ([198, 51, 100, 20], 80);
/// A JSON object with a list of six items, by `gzip -9`.
const GZIPPED: &str = "H4sIAAAAAAACA6tWSklNzk9JTVGyUigpKk3VUVDKLEnNLQZyo6uVMkHCBkCxvMTcVCATLKdgoFSrowCVNESXNESSNEKXNEKSNEa\
XNEaSNEGXNEGSNEWXNFWqja0FACnI+OzKAAAA";
const NESTED: &str = r#"{"id":42,"active":true,"parent":null,"price":12.50,"tags":["new","tea",[]],"empty":{},"owner":{"name":"Zoë \"Z\" 🙂","address":{"street":"Long Street 1","lines":["second\nline","\u202ethird"]}},"big":123456789012345678901234567890,"note":"A sentence that is too long to be shown in one line of a narrow terminal, so that it has to be wrapped or cut somewhere."}"#;
const POEM: &str = "Tea at four.\n\n\tThe kettle sings,\n\tthe cat does not.\r\nRain.\n";

pub(super) fn recording() -> Vec<u8> {
    let pid = 5005;
    let who = Who { pid, tid: pid };
    let mut stage = Stage::new(100 * MS, &[(pid, b"reader")]);
    let mut line = stage.client(who, ADDRESS);
    line.at(100 * MS).opens(9 * MS);
    for (request, answer) in whole() {
        line.wait(60 * MS).asks(&request).wait(12 * MS).answers(&answer);
    }
    chunked(&mut line);
    let mut at = line.now();
    stage.plays(line);
    let mut once = |stage: &mut Stage, play: &dyn Fn(&mut Line)| -> u64 {
        at += 150 * MS;
        let mut line = stage.client(who, ADDRESS);
        line.at(at).opens(9 * MS);
        play(&mut line);
        stage.plays(line);
        at
    };
    once(&mut stage, &|line| {
        line.asks(&get("/truncated.json", HOST, &[])).wait(15 * MS);
        line.answers(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n");
        line.wait(MS).answers(br#"{"rows":[{"id":1,"name":"one"},{"id":2,"name":"tw"#).wait(80 * MS).is_closed();
    });
    once(&mut stage, &|line| {
        line.asks(&get("/gap.json", HOST, &[])).wait(15 * MS);
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n";
        let body = br#"{"rows":[{"id":1,"name":"one"},{"id":2,"name":"two"},{"id":3,"#;
        line.answers_cut(&[&head[..], body].concat(), head.len() as u32 + 9000);
    });
    once(&mut stage, &|line| {
        line.asks(&get("/video.mp4", HOST, &[])).wait(15 * MS);
        line.answers(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 250000\r\n\r\n");
        line.wait(MS).answers_unseen(250_000);
    });
    once(&mut stage, &|line| {
        line.asks(&get("/events", HOST, &["Accept: text/event-stream"])).wait(5 * MS);
        line.answers(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n");
        for number in 1..=4 {
            let event = format!("id: {number}\nevent: price\ndata: {{\"tea\":{number}.25}}\n\n");
            line.wait(120 * MS).answers(event.as_bytes());
        }
        line.wait(10 * MS).answers(b": still here\n\nretry: 3000\n\n");
    });
    let lost = once(&mut stage, &|line| {
        line.asks(&get("/lost-head", HOST, &[])).wait(15 * MS).answers_lost(90);
        line.wait(30 * MS).answers(b"of a body whose head was lost, which ends it: 1234567890\n").wait(30 * MS);
        line.asks(&get("/after-the-gap", HOST, &[])).wait(15 * MS).answers(&answer(
            "200 OK",
            "text/plain",
            b"whole again\n",
        ));
    });
    stage.loses(lost + 20 * MS, 1);
    stage.ends(6 * S)
}

/// Bodies in one piece.
fn whole() -> [(Vec<u8>, Vec<u8>); 14] {
    let asked = |target: &str| get(target, HOST, &[]);
    let gzipped = STANDARD.decode(GZIPPED).expect("it is base64");
    let length = format!("Content-Length: {}", gzipped.len());
    let encoded = ["Content-Type: application/json", "Content-Encoding: gzip", &length];
    let broken = ["Content-Type: text/plain", "Content-Encoding: gzip", "Content-Length: 12"];
    let png: Vec<u8> = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".iter().copied().chain((0..=255).step_by(3)).collect();
    let form = b"name=Zo%C3%AB+Z&comment=two%0Alines+%26+more&empty=&flag&color=%23ff0000";
    let parts = b"--cut\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nTea\r\n--cut\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nline 1\nline 2\r\n--cut--\r\n";
    [
        (post("/nested", HOST, NESTED), json("200 OK", NESTED)),
        (asked("/list.json"), json("200 OK", r#"[1,2,[3,[4,[5,[6]]]],"seven",{"eight":8}]"#)),
        (asked("/invalid.json"), json("200 OK", r#"{"id":1,"name":"broken",,"rest":[1,2"#)),
        (asked("/scalar.json"), json("200 OK", "\"just text\"")),
        (send("POST", "/form", HOST, "application/x-www-form-urlencoded", form), empty("303 See Other")),
        (
            send("POST", "/upload", HOST, "multipart/form-data; boundary=cut", parts),
            json("201 Created", r#"{"file":7}"#),
        ),
        (asked("/poem.txt"), answer("200 OK", "text/plain; charset=utf-8", POEM.as_bytes())),
        (
            asked("/page.html"),
            answer("200 OK", "text/html", b"<!doctype html>\n<title>Tea</title>\n<p>It is <b>hot</b>.</p>\n"),
        ),
        (asked("/zipped.json"), message("HTTP/1.1 200 OK", &encoded, &gzipped)),
        (asked("/broken.gz"), message("HTTP/1.1 200 OK", &broken, b"not gzipped\n")),
        (asked("/picture.png"), answer("200 OK", "image/png", &png)),
        (asked("/latin1.txt"), answer("200 OK", "text/plain; charset=iso-8859-1", b"caf\xe9 cr\xe8me\n")),
        (asked("/empty"), empty("200 OK")),
        (send("DELETE", "/nested/42", HOST, "text/plain", b""), empty("204 No Content")),
    ]
}

fn chunked(line: &mut Line) {
    line.wait(60 * MS).asks(&get("/chunked", HOST, &[])).wait(10 * MS);
    line.answers(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nTrailer: Checksum\r\n\r\n",
    );
    for part in ["first part\n", "second part\n", "third and last\n"] {
        line.wait(25 * MS).answers(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes());
    }
    line.wait(MS).answers(b"0\r\nChecksum: 4c1f\r\n\r\n");
}
