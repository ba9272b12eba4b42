//! A configuration that names a server of MySQL which is none: whatever it answers, it is an error, and soon.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use mm_test_support::cluster::Cluster;
use mm_test_support::site::Site;

use crate::sql::run;

/// What it answers to every question: rows of one column.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// NULL where a text is asked for.
    Null,
    /// One row after the other.
    Endless,
    /// Nothing that the protocol knows.
    Noise,
}

/// A packet of the protocol: length in three bytes, number, contents.
fn packet(number: u8, contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len()).unwrap().to_le_bytes();
    [&length[..3], &[number], contents].concat()
}

fn read(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 4];
    client.read_exact(&mut head).ok()?;
    let mut contents = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16];
    client.read_exact(&mut contents).ok()?;
    Some(contents)
}

/// Greets as MySQL does (protocol 10), lets everybody in, and answers until nobody listens.
fn serve(mut client: TcpStream, answer: Answer) -> Option<()> {
    let (low, high) = (0xA208_u16, 0x0008_u16);
    let greeting = [
        &b"\x0a8.0.36\0\x01\0\0\0saltsalt\0"[..],
        &low.to_le_bytes(),
        &[45, 2, 0],
        &high.to_le_bytes(),
        &[21],
        &[0; 10],
        b"saltsaltsalt\0mysql_native_password\0",
    ];
    client.write_all(&packet(0, &greeting.concat())).ok()?;
    read(&mut client)?;
    let fine = [0, 0, 0, 2, 0, 0, 0];
    client.write_all(&packet(2, &fine)).ok()?;
    loop {
        let question = read(&mut client)?;
        if question.first() != Some(&3) || question[1..].starts_with(b"SET ") {
            client.write_all(&packet(1, &fine)).ok()?;
            continue;
        }
        let column = b"\x03def\0\0\0\x01a\0\x0c\x2d\0\xff\0\0\0\xfd\0\0\0\0\0";
        let end = b"\xfe\0\0\x02\0";
        let head = [packet(1, &[1]), packet(2, column), packet(3, end)].concat();
        match answer {
            Answer::Null => client.write_all(&[head, packet(4, b"\xfb"), packet(5, end)].concat()).ok()?,
            Answer::Noise => {
                client.write_all(&packet(1, b"\xfd\xfd noise")).ok()?;
                return None;
            }
            Answer::Endless => {
                client.write_all(&head).ok()?;
                let row = [&[250][..], &[b'8'; 250]].concat();
                let mut number = 3_u8;
                loop {
                    let rows: Vec<u8> = (0..1000)
                        .flat_map(|_| {
                            number = number.wrapping_add(1);
                            packet(number, &row)
                        })
                        .collect();
                    client.write_all(&rows).ok()?;
                }
            }
        }
    }
}

#[test]
fn whatever_a_server_of_mysql_answers_is_an_error_and_no_end_of_ours() {
    let site = Site::builder("10.6.1").build();
    let target = Cluster::create(15);
    let file = site.directory().join("target");
    std::fs::write(&file, target.url()).unwrap();
    mm_test_support::process::run("chmod", &["600", file.to_str().unwrap()]);
    site.set("SqlSettings", "DriverName", "mysql".into());
    for (answer, expected) in [
        (Answer::Null, "in a form that was not asked for"),
        (Answer::Endless, "it answers with more than 64 MiB"),
        (Answer::Noise, "MySQL"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                std::thread::spawn(move || serve(client, answer));
            }
        });
        let source = format!("mmuser:word@tcp(127.0.0.1:{port})/mattermost");
        site.set("SqlSettings", "DataSource", source.into());
        let (code, said) = run(&site, "mm-pgbump", &["check", "--target", file.to_str().unwrap()]);
        assert!(matches!(code, Some(1 | 5)) && said.contains(expected), "{answer:?}: {code:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("a bug"), "{answer:?}: {said}");
    }
}
