//! The seeds of the corpus of leaks: texts, and what of each must not leave. They come from the texts
//! of standards, from registries and from what makers print in their manuals; none was made from the
//! patterns of a detector.

/// A text, and what in it must not leave.
pub type Seed = (&'static str, &'static str);

/// Test numbers that card schemes and payment services publish, of each brand.
pub const CARDS: &[&str] = &[
    "4242424242424242",
    "4012888888881881",
    "4111111111111111",
    "4222222222222",
    "4000056655665556",
    "4917610000000000003",
    "5555555555554444",
    "2223003122003222",
    "5200828282828210",
    "5105105105105100",
    "378282246310005",
    "371449635398431",
    "378734493671000",
    "6011111111111117",
    "6011000990139424",
    "6011981111111113",
    "3056930009020004",
    "36227206271667",
    "30569309025904",
    "38520000023237",
    "3566002020360505",
    "3530111333300000",
    "6200000000000005",
    "6205500000000000004",
    "6304000000000000",
    "6759649826438453",
];

/// Addresses of RFC 5321, 5322, 3261 and 3696, in reserved domains.
pub const EMAILS: &[Seed] = &[
    ("Smith@bar.example", "Smith@bar.example"),
    ("Jones@foo.example", "Jones@foo.example"),
    ("userc@d.bar.example", "userc@d.bar.example"),
    ("john.q.public@example.com", "john.q.public@example.com"),
    ("mary@x.test", "mary@x.test"),
    ("jdoe@example.org", "jdoe@example.org"),
    ("one@y.test", "one@y.test"),
    ("boss@nil.test", "boss@nil.test"),
    ("sysservices@example.net", "sysservices@example.net"),
    ("pete@silly.test", "pete@silly.test"),
    ("c@public.example", "c@public.example"),
    ("joe@example.org", "joe@example.org"),
    ("jdoe@one.test", "jdoe@one.test"),
    ("smith@home.example", "smith@home.example"),
    ("1234@local.machine.example", "1234@local.machine.example"),
    ("5678.21-Nov-1997@example.com", "5678.21-Nov-1997@example.com"),
    ("testabcd.1234@silly.test", "testabcd.1234@silly.test"),
    ("alice@atlanta.example", "alice@atlanta.example"),
    ("user+mailbox@example.com", "user+mailbox@example.com"),
    ("_somename@example.com", "_somename@example.com"),
    ("ada%40example.com", "ada%40example.com"),
];

/// Addresses of RFC 5737, 1918, 6890 and 5771.
pub const IPV4: &[Seed] = &[
    ("192.0.2.1", "192.0.2.1"),
    ("192.0.2.235", "192.0.2.235"),
    ("198.51.100.1", "198.51.100.1"),
    ("198.51.100.178", "198.51.100.178"),
    ("203.0.113.7", "203.0.113.7"),
    ("203.0.113.195", "203.0.113.195"),
    ("10.0.0.1", "10.0.0.1"),
    ("10.255.255.254", "10.255.255.254"),
    ("172.16.0.1", "172.16.0.1"),
    ("172.31.255.254", "172.31.255.254"),
    ("192.168.0.1", "192.168.0.1"),
    ("192.168.1.254", "192.168.1.254"),
    ("169.254.0.10", "169.254.0.10"),
    ("100.64.0.1", "100.64.0.1"),
    ("127.0.0.1", "127.0.0.1"),
    ("255.255.255.255", "255.255.255.255"),
    ("224.0.0.251", "224.0.0.251"),
    ("233.252.0.1", "233.252.0.1"),
    ("198.18.0.15", "198.18.0.15"),
    ("192.88.99.2", "192.88.99.2"),
];

/// Addresses of RFC 4291, 5952 and 6052.
pub const IPV6: &[Seed] = &[
    ("2001:db8:0:0:1:0:0:1", "2001:db8:0:0:1:0:0:1"),
    ("2001:0db8:0:0:1:0:0:1", "2001:0db8:0:0:1:0:0:1"),
    ("2001:db8::1:0:0:1", "2001:db8::1:0:0:1"),
    ("2001:db8::0:1:0:0:1", "2001:db8::0:1:0:0:1"),
    ("2001:db8:0:0:1::1", "2001:db8:0:0:1::1"),
    ("2001:DB8:0:0:1::1", "2001:DB8:0:0:1::1"),
    ("2001:db8:aaaa:bbbb:cccc:dddd:eeee:0001", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:0001"),
    ("2001:db8::aaaa:0:0:1", "2001:db8::aaaa:0:0:1"),
    ("2001:db8:0:0:aaaa::1", "2001:db8:0:0:aaaa::1"),
    ("2001:0:0:1:0:0:0:1", "2001:0:0:1:0:0:0:1"),
    ("FF01::101", "FF01::101"),
    ("2001:DB8::8:800:200C:417A", "2001:DB8::8:800:200C:417A"),
    ("ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "ABCD:EF01:2345:6789:ABCD:EF01:2345:6789"),
    ("::FFFF:129.144.52.38", "::FFFF:129.144.52.38"),
    ("::13.1.68.3", "::13.1.68.3"),
    ("0:0:0:0:0:0:13.1.68.3", "0:0:0:0:0:0:13.1.68.3"),
    ("2001:0DB8::CD30:0:0:0:0", "2001:0DB8::CD30:0:0:0:0"),
    ("fe80::1", "fe80::1"),
    ("64:ff9b::192.0.2.33", "64:ff9b::192.0.2.33"),
    ("2001:db8:122:344::192.0.2.33", "2001:db8:122:344::192.0.2.33"),
];

/// Numbers that regulators keep for fiction, and the example of ITU-T E.123.
pub const PHONES: &[Seed] = &[
    ("+44 20 7946 0018", "+44 20 7946 0018"),
    ("+44 113 496 0000", "+44 113 496 0000"),
    ("+44 1632 960001", "+44 1632 960001"),
    ("+447700900123", "+447700900123"),
    ("+44 808 157 0192", "+44 808 157 0192"),
    ("+1 212-555-0100", "+1 212-555-0100"),
    ("+1 (415) 555-0132", "+1 (415) 555-0132"),
    ("+1.650.555.0199", "+1.650.555.0199"),
    ("(212) 555-0147", "(212) 555-0147"),
    ("415-555-0188", "415-555-0188"),
    ("650.555.0123", "650.555.0123"),
    ("1-800-555-0199", "1-800-555-0199"),
    ("+61 2 5550 1234", "+61 2 5550 1234"),
    ("+61 491 570 156", "+61 491 570 156"),
    ("+33 1 99 00 12 34", "+33 1 99 00 12 34"),
    ("+33639981234", "+33639981234"),
    ("+353 20 910 1234", "+353 20 910 1234"),
    ("+49 30 23125 000", "+49 30 23125 000"),
    ("+49 171 3920000", "+49 171 3920000"),
    ("+46 8 465 004 00", "+46 8 465 004 00"),
    ("+22 607 123 4567", "+22 607 123 4567"),
    ("%2B447700900123", "%2B447700900123"),
];

/// Examples of the SWIFT registry.
pub const IBANS: &[Seed] = &[
    ("AD1200012030200359100100", "AD1200012030200359100100"),
    ("AE070331234567890123456", "AE070331234567890123456"),
    ("AL47212110090000000235698741", "AL47212110090000000235698741"),
    ("AT611904300234573201", "AT611904300234573201"),
    ("AZ21NABZ00000000137010001944", "AZ21NABZ00000000137010001944"),
    ("BA391290079401028494", "BA391290079401028494"),
    ("BE68539007547034", "BE68539007547034"),
    ("BG80BNBG96611020345678", "BG80BNBG96611020345678"),
    ("BH67BMAG00001299123456", "BH67BMAG00001299123456"),
    ("BR1800360305000010009795493C1", "BR1800360305000010009795493C1"),
    ("CH9300762011623852957", "CH9300762011623852957"),
    ("CR05015202001026284066", "CR05015202001026284066"),
    ("CY17002001280000001200527600", "CY17002001280000001200527600"),
    ("CZ6508000000192000145399", "CZ6508000000192000145399"),
    ("DE89370400440532013000", "DE89370400440532013000"),
    ("DK5000400440116243", "DK5000400440116243"),
    ("DO28BAGR00000001212453611324", "DO28BAGR00000001212453611324"),
    ("EE382200221020145685", "EE382200221020145685"),
    ("ES9121000418450200051332", "ES9121000418450200051332"),
    ("FI2112345600000785", "FI2112345600000785"),
    ("FO6264600001631634", "FO6264600001631634"),
    ("FR1420041010050500013M02606", "FR1420041010050500013M02606"),
    ("GB29NWBK60161331926819", "GB29NWBK60161331926819"),
    ("GI75NWBK000000007099453", "GI75NWBK000000007099453"),
    ("GR1601101250000000012300695", "GR1601101250000000012300695"),
    ("HR1210010051863000160", "HR1210010051863000160"),
    ("IE29AIBK93115212345678", "IE29AIBK93115212345678"),
    ("IS140159260076545510730339", "IS140159260076545510730339"),
    ("IT60X0542811101000000123456", "IT60X0542811101000000123456"),
    ("LU280019400644750000", "LU280019400644750000"),
];

/// Headers and claims of RFC 7515, 7519, 7520, 9068 and `OpenID` Connect, encoded by Python; a JWE of RFC 7516's form.
pub const JWTS: &[Seed] = &[
    (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.8VNDkieb3b-dQ93ocBy1vhS4L3bsZge_jWrVV_YPME4",
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.8VNDkieb3b-dQ93ocBy1vhS4L3bsZge_jWrVV_YPME4",
    ),
    (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsInN1YiI6IjI0NDAwMzIwIiwiYXVkIjoiczZCaGRSa3F0MyIsIm5vbmNlIjoibi0wUzZfV3pBMk1qIiwiZXhwIjoxMzExMjgxOTcwLCJpYXQiOjEzMTEyODA5NzB9.k424yfgsjLWNPz70_SUANqSNJqcSdT0v3lq9A6hcq_Q",
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsInN1YiI6IjI0NDAwMzIwIiwiYXVkIjoiczZCaGRSa3F0MyIsIm5vbmNlIjoibi0wUzZfV3pBMk1qIiwiZXhwIjoxMzExMjgxOTcwLCJpYXQiOjEzMTEyODA5NzB9.k424yfgsjLWNPz70_SUANqSNJqcSdT0v3lq9A6hcq_Q",
    ),
    (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWV9.qVPwmhtrZyW4GVbprQsetJ461AAEwEMH74r2JGoFQRY",
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWV9.qVPwmhtrZyW4GVbprQsetJ461AAEwEMH74r2JGoFQRY",
    ),
    (
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.SkTcFTZCBKgP6A6QOUVcwWCCgYIP4rJPHlIzreavHdU",
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.SkTcFTZCBKgP6A6QOUVcwWCCgYIP4rJPHlIzreavHdU",
    ),
    (
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsInN1YiI6IjI0NDAwMzIwIiwiYXVkIjoiczZCaGRSa3F0MyIsIm5vbmNlIjoibi0wUzZfV3pBMk1qIiwiZXhwIjoxMzExMjgxOTcwLCJpYXQiOjEzMTEyODA5NzB9.T8grJq7LR9KGjE7741gXMqPny8xsLvsyBiwIFwoF7rg",
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsInN1YiI6IjI0NDAwMzIwIiwiYXVkIjoiczZCaGRSa3F0MyIsIm5vbmNlIjoibi0wUzZfV3pBMk1qIiwiZXhwIjoxMzExMjgxOTcwLCJpYXQiOjEzMTEyODA5NzB9.T8grJq7LR9KGjE7741gXMqPny8xsLvsyBiwIFwoF7rg",
    ),
    (
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWV9.a1HUMd9dfxQcvs7M957fPdhhw7QGnwsRZho-76y7qRg",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWV9.a1HUMd9dfxQcvs7M957fPdhhw7QGnwsRZho-76y7qRg",
    ),
    (
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.9co490ih1ur3JrikL7V1w8cfGGSoFDMBeC3hPaLZICs",
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.9co490ih1ur3JrikL7V1w8cfGGSoFDMBeC3hPaLZICs",
    ),
    (
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsInN1YiI6IjI0NDAwMzIwIiwiYXVkIjoiczZCaGRSa3F0MyIsIm5vbmNlIjoibi0wUzZfV3pBMk1qIiwiZXhwIjoxMzExMjgxOTcwLCJpYXQiOjEzMTEyODA5NzB9.b0tmEhJfs6Da7NJ5nf1snCmUJP2SD5swgRCiwfvY9EM",
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsInN1YiI6IjI0NDAwMzIwIiwiYXVkIjoiczZCaGRSa3F0MyIsIm5vbmNlIjoibi0wUzZfV3pBMk1qIiwiZXhwIjoxMzExMjgxOTcwLCJpYXQiOjEzMTEyODA5NzB9.b0tmEhJfs6Da7NJ5nf1snCmUJP2SD5swgRCiwfvY9EM",
    ),
    (
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWV9.eF8-x-sy8wuQzQ_PNlfTiLX_Qpfy-XFv9m6bacBd3Qk",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWV9.eF8-x-sy8wuQzQ_PNlfTiLX_Qpfy-XFv9m6bacBd3Qk",
    ),
    (
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
    ),
    (
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsInN1YiI6IjI0NDAwMzIwIiwiYXVkIjoiczZCaGRSa3F0MyIsIm5vbmNlIjoibi0wUzZfV3pBMk1qIiwiZXhwIjoxMzExMjgxOTcwLCJpYXQiOjEzMTEyODA5NzB9.",
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsInN1YiI6IjI0NDAwMzIwIiwiYXVkIjoiczZCaGRSa3F0MyIsIm5vbmNlIjoibi0wUzZfV3pBMk1qIiwiZXhwIjoxMzExMjgxOTcwLCJpYXQiOjEzMTEyODA5NzB9.",
    ),
    (
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWV9.",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWV9.",
    ),
    (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.1Z7O0d7Qf4TBRVkvZb34VDWOAJxc1wX1IVvxhpf-0QM",
        "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.1Z7O0d7Qf4TBRVkvZb34VDWOAJxc1wX1IVvxhpf-0QM",
    ),
    (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.eyJpc3MiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsInN1YiI6IjI0NDAwMzIwIiwiYXVkIjoiczZCaGRSa3F0MyIsIm5vbmNlIjoibi0wUzZfV3pBMk1qIiwiZXhwIjoxMzExMjgxOTcwLCJpYXQiOjEzMTEyODA5NzB9.PZFPk0jJzA_4p5cWcAufzU0vPnEWCABOuPE4vLp_FNk",
        "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.eyJpc3MiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsInN1YiI6IjI0NDAwMzIwIiwiYXVkIjoiczZCaGRSa3F0MyIsIm5vbmNlIjoibi0wUzZfV3pBMk1qIiwiZXhwIjoxMzExMjgxOTcwLCJpYXQiOjEzMTEyODA5NzB9.PZFPk0jJzA_4p5cWcAufzU0vPnEWCABOuPE4vLp_FNk",
    ),
    (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWV9.c0dctApWjo2ooEXO0RATfhWfiQrE2og7axfcZRs6gEk",
        "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWV9.c0dctApWjo2ooEXO0RATfhWfiQrE2og7axfcZRs6gEk",
    ),
    (
        "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJSUzI1NiIsImtpZCI6IlJqRXdPd09BIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.GmViWQ7xnRBF0GxAVXQtOCiOnm3NcczeXO6A8dWndOs",
        "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJSUzI1NiIsImtpZCI6IlJqRXdPd09BIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.GmViWQ7xnRBF0GxAVXQtOCiOnm3NcczeXO6A8dWndOs",
    ),
    (
        "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJSUzI1NiIsImtpZCI6IlJqRXdPd09BIn0.eyJpc3MiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsInN1YiI6IjI0NDAwMzIwIiwiYXVkIjoiczZCaGRSa3F0MyIsIm5vbmNlIjoibi0wUzZfV3pBMk1qIiwiZXhwIjoxMzExMjgxOTcwLCJpYXQiOjEzMTEyODA5NzB9.AxtK9Rl-wwqSb0jPQOEafbxHAEiiHkADt6PAfF2rG6o",
        "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJSUzI1NiIsImtpZCI6IlJqRXdPd09BIn0.eyJpc3MiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsInN1YiI6IjI0NDAwMzIwIiwiYXVkIjoiczZCaGRSa3F0MyIsIm5vbmNlIjoibi0wUzZfV3pBMk1qIiwiZXhwIjoxMzExMjgxOTcwLCJpYXQiOjEzMTEyODA5NzB9.AxtK9Rl-wwqSb0jPQOEafbxHAEiiHkADt6PAfF2rG6o",
    ),
    (
        "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJSUzI1NiIsImtpZCI6IlJqRXdPd09BIn0.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWV9.Qc_A0fLRJ7BFVbckbYQBm00ncQo_Ov9ud2Q3Wx4G4F0",
        "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJSUzI1NiIsImtpZCI6IlJqRXdPd09BIn0.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWV9.Qc_A0fLRJ7BFVbckbYQBm00ncQo_Ov9ud2Q3Wx4G4F0",
    ),
    (
        "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.OfqewZDu57b03_EQDWND4QkY0ETHXqyPnpollhc_gMk",
        "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.OfqewZDu57b03_EQDWND4QkY0ETHXqyPnpollhc_gMk",
    ),
    (
        "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.eyJpc3MiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsInN1YiI6IjI0NDAwMzIwIiwiYXVkIjoiczZCaGRSa3F0MyIsIm5vbmNlIjoibi0wUzZfV3pBMk1qIiwiZXhwIjoxMzExMjgxOTcwLCJpYXQiOjEzMTEyODA5NzB9.0Cn6OpXhdKGZNIV_U165Qn2WchijbqAUtwrXBLxsjRw",
        "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.eyJpc3MiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsInN1YiI6IjI0NDAwMzIwIiwiYXVkIjoiczZCaGRSa3F0MyIsIm5vbmNlIjoibi0wUzZfV3pBMk1qIiwiZXhwIjoxMzExMjgxOTcwLCJpYXQiOjEzMTEyODA5NzB9.0Cn6OpXhdKGZNIV_U165Qn2WchijbqAUtwrXBLxsjRw",
    ),
    (
        "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.KvipEEs_ZO1kDYx-KY0tSA8Do2EMvCszR0Mh7FkCSkhZLqhUXkHgnV0RCHWd9I7eAFTyJd851PDzEkUOCqndJQ.48V1_ALb6US04U3b.5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6jiSdiwkIr3ajwQzaBtQD_A.XFBoMYUZodetZdvTiFvSkQ",
        "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.KvipEEs_ZO1kDYx-KY0tSA8Do2EMvCszR0Mh7FkCSkhZLqhUXkHgnV0RCHWd9I7eAFTyJd851PDzEkUOCqndJQ.48V1_ALb6US04U3b.5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6jiSdiwkIr3ajwQzaBtQD_A.XFBoMYUZodetZdvTiFvSkQ",
    ),
];

/// Tokens of RFC 6749, 6750 and of manuals.
pub const BEARERS: &[Seed] = &[
    ("Authorization: Bearer mF_9.B5f-4.1JqM", "mF_9.B5f-4.1JqM"),
    ("Authorization: Bearer 2YotnFZFEjr1zCsicMWpAA", "2YotnFZFEjr1zCsicMWpAA"),
    ("Authorization: Bearer SlAV32hkKG", "SlAV32hkKG"),
    ("Authorization: Bearer vF9dft4qmT", "vF9dft4qmT"),
    ("Authorization: Bearer czZCaGRSa3F0MzpnWDFmQmF0M2JW", "czZCaGRSa3F0MzpnWDFmQmF0M2JW"),
    ("Authorization: Bearer h480djs93hd8", "h480djs93hd8"),
    ("Authorization: Bearer 7Fjfp0ZBr1KtDRbnfVdmIw", "7Fjfp0ZBr1KtDRbnfVdmIw"),
    ("Authorization: Bearer tGzv3JOkF0XG5Qx2TlKWIA", "tGzv3JOkF0XG5Qx2TlKWIA"),
    ("Authorization: Bearer ccx-0123.abc~x", "ccx-0123.abc~x"),
    ("Authorization: Bearer AbCdEf123456==", "AbCdEf123456=="),
    ("Authorization: Bearer 0b79bab50daca910b000d4f1a2b675d604257e42", "0b79bab50daca910b000d4f1a2b675d604257e42"),
    (
        "Authorization: Bearer accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC",
        "accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC",
    ),
    ("Authorization: Bearer d-0_abcdef/GH+1", "d-0_abcdef/GH+1"),
    ("Authorization: Bearer ya29.0AfExampleToken", "ya29.0AfExampleToken"),
    ("Authorization: Bearer v2.local.AAAA_bbbb", "v2.local.AAAA_bbbb"),
    ("Authorization: Bearer opaque-token-17", "opaque-token-17"),
    ("Authorization: Bearer 11e6d8c7-4f6c-4d11-9a2e-0c7b7d3f5e10", "11e6d8c7-4f6c-4d11-9a2e-0c7b7d3f5e10"),
    ("Authorization: Bearer PAT0123456789", "PAT0123456789"),
    ("Authorization: Bearer a1b2c3", "a1b2c3"),
    ("Authorization: Bearer secret.token.value", "secret.token.value"),
];

/// The forms that makers print in their manuals, filled with zeros and letters where those print no whole key.
pub const API_KEYS: &[Seed] = &[
    ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ("ASIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"),
    ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
    ("gho_16C7e42F292c6912E7710c838347Ae178B4a", "gho_16C7e42F292c6912E7710c838347Ae178B4a"),
    ("ghu_16C7e42F292c6912E7710c838347Ae178B4a", "ghu_16C7e42F292c6912E7710c838347Ae178B4a"),
    ("ghs_16C7e42F292c6912E7710c838347Ae178B4a", "ghs_16C7e42F292c6912E7710c838347Ae178B4a"),
    ("github_pat_11ABCDE0000000000000000_0000abcdEFGH", "github_pat_11ABCDE0000000000000000_0000abcdEFGH"),
    ("glpat-0000abcdEFGH0000abcd", "glpat-0000abcdEFGH0000abcd"),
    ("sk_test_0000abcdEFGH0000abcdEFGH", "sk_test_0000abcdEFGH0000abcdEFGH"),
    ("rk_live_0000abcdEFGH0000abcd", "rk_live_0000abcdEFGH0000abcd"),
    ("whsec_0000abcdEFGH0000abcdEFGH", "whsec_0000abcdEFGH0000abcdEFGH"),
    (
        "xoxb-000000000000-000000000000-abcdEFGHabcdEFGHabcdEFGH",
        "xoxb-000000000000-000000000000-abcdEFGHabcdEFGHabcdEFGH",
    ),
    ("xapp-1-A0000000000-0000000000000-abcdef", "xapp-1-A0000000000-0000000000000-abcdef"),
    ("AIzaSy0000abcdEFGH-0000abcd_EFGH0000abc", "AIzaSy0000abcdEFGH-0000abcd_EFGH0000abc"),
    (
        "SG.0000abcdEFGH0000abcdEF.0000abcdEFGH0000abcdEFGH0000abcdEFGH0000abc",
        "SG.0000abcdEFGH0000abcdEF.0000abcdEFGH0000abcdEFGH0000abcdEFGH0000abc",
    ),
    ("npm_0000abcdEFGH0000abcdEFGH0000abcdEFGH", "npm_0000abcdEFGH0000abcdEFGH0000abcdEFGH"),
    ("sk-proj-0000abcdEFGH0000abcdEFGH0000", "sk-proj-0000abcdEFGH0000abcdEFGH0000"),
    ("sk-ant-api03-0000abcdEFGH0000abcd", "sk-ant-api03-0000abcdEFGH0000abcd"),
    ("hf_abcdEFGHabcdEFGHabcdEFGHabcd000000", "hf_abcdEFGHabcdEFGHabcdEFGHabcd000000"),
    (
        "dop_v1_00000000000000000000000000000000aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "dop_v1_00000000000000000000000000000000aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ),
    ("shpat_0000abcdef0000abcdef0000abcdef00", "shpat_0000abcdef0000abcdef0000abcdef00"),
    ("hvs.CAESIJ0000abcdEFGH0000abcd", "hvs.CAESIJ0000abcdEFGH0000abcd"),
    ("api_key=0000abcdEFGH0000", "0000abcdEFGH0000"),
    ("\"apiKey\": \"0000-abcd-EFGH-0000\"", "0000-abcd-EFGH-0000"),
    ("X-Api-Key: 0000abcdEFGH0000", "0000abcdEFGH0000"),
    ("AccountKey=0000abcd/EFGH+0000==", "0000abcd/EFGH+0000=="),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
];

/// RFC 3986 and manuals of what connects by URL.
pub const URL_CREDENTIALS: &[Seed] = &[
    ("postgresql://user:secret@localhost/db", "user:secret"),
    ("postgresql://someone@localhost/otherdb?connect_timeout=10", "someone"),
    ("ftp://cnn.example.com&story=breaking_news@10.0.0.1/top_story.htm", "cnn.example.com&story=breaking_news"),
    ("mongodb+srv://ada:pa55@cluster0.example.net/?retryWrites=true", "ada:pa55"),
    ("redis://:p4ssw0rd@cache:6379/0", ":p4ssw0rd"),
    ("amqp://guest:g:u:est@mq:5672/%2f", "guest:g:u:est"),
    ("mysql://root:toor@127.0.0.1:3306/app", "root:toor"),
    ("https://oauth2:glx@gitlab.example/x.git", "oauth2:glx"),
    ("sftp://ada:s%40crt@files.example/", "ada:s%40crt"),
    ("smb://dom;ada:pw@nas/share", "dom;ada:pw"),
    ("ldap://cn=admin:pw@ldap.example/", "cn=admin:pw"),
    ("nats://tok3n@nats:4222", "tok3n"),
    ("https://0123456789abcdef:fedcba@o1.ingest.example/42", "0123456789abcdef:fedcba"),
    ("rtsp://admin:12345@192.0.2.1/stream", "admin:12345"),
    ("jdbc:postgresql://u:p@db:5432/x", "u:p"),
    ("git+ssh://git:k3y@host/repo", "git:k3y"),
    ("ws://bot:hunter2@chat.example/socket", "bot:hunter2"),
    ("clickhouse://default:ch@h:9000", "default:ch"),
    ("socks5://p:q@proxy:1080", "p:q"),
    ("http://a.b-c_d~e:f!g@[2001:db8::1]:80/", "a.b-c_d~e:f!g"),
];

/// RFC 6749 and manuals of those who sign URLs.
pub const URL_QUERY_SECRETS: &[Seed] = &[
    ("https://b.s3.example/o?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=aeeed9bbccd4", "aeeed9bbccd4"),
    ("https://b/o?AWSAccessKeyId=AKIDEXAMPLE&Expires=1175139620", "AKIDEXAMPLE"),
    ("/o?Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&x=1", "NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D"),
    (
        "https://a.blob.example/c?sv=2022&sig=Z%2FRHIX5Xcg0Mq2rqI3OlWTjEg2tYkboXr1P9ZUXDtkk%3D",
        "Z%2FRHIX5Xcg0Mq2rqI3OlWTjEg2tYkboXr1P9ZUXDtkk%3D",
    ),
    ("/geo?x-goog-signature=247a2aa45f16", "247a2aa45f16"),
    ("/maps?address=x&key=mapk3y", "mapk3y"),
    ("/u?access_token=2YotnFZFEjr1", "2YotnFZFEjr1"),
    ("/cb?code=SplxlOBeZQQYbYS6WxSbIA&state=xyz", "SplxlOBeZQQYbYS6WxSbIA"),
    ("/cb#id_token=e0Jx.e0Ky.sig&x", "e0Jx.e0Ky.sig"),
    ("grant_type=password&username=johndoe&password=A3ddj3w", "A3ddj3w"),
    ("client_id=s6BhdRkqt3&client_secret=7Fjfp0ZBr1KtDRbnfVdmIw", "7Fjfp0ZBr1KtDRbnfVdmIw"),
    ("refresh_token=tGzv3JOkF0XG5Qx2TlKWIA", "tGzv3JOkF0XG5Qx2TlKWIA"),
    ("/app;jsessionid=1A530637289A03B07199A44E8D531427?x=1", "1A530637289A03B07199A44E8D531427"),
    ("/x?PHPSESSID=r2t5uvjq435r4q7ib3vtdjq120", "r2t5uvjq435r4q7ib3vtdjq120"),
    ("/x?api-key=ak17", "ak17"),
    ("/x?a=1&APIKEY=ak18", "ak18"),
    ("/reset?token=r3set", "r3set"),
    ("/login?user=a&pwd=hunter2", "hunter2"),
    ("/x?auth=b64dGVzdA==", "b64dGVzdA=="),
    ("/saml?SAMLResponse=PHNhbWxwOg%3D%3D", "PHNhbWxwOg%3D%3D"),
    ("/v?otp=123456&x", "123456"),
];

/// Examples that offices of the countries, or articles on the schemes, print.
pub const NATIONAL_IDS: &[(&str, Seed)] = &[
    ("BR", ("111.444.777-35", "111.444.777-35")),
    ("BR", ("529.982.247-25", "529.982.247-25")),
    ("CA", ("130-692-544", "130-692-544")),
    ("CA", ("046 454 286", "046 454 286")),
    ("DE", ("86095742719", "86095742719")),
    ("DE", ("47 036 892 816", "47 036 892 816")),
    ("ES", ("12345678Z", "12345678Z")),
    ("ES", ("X1234567L", "X1234567L")),
    ("FR", ("255081416802538", "255081416802538")),
    ("FR", ("2 55 08 14 168 025 38", "2 55 08 14 168 025 38")),
    ("GB", ("AB123456C", "AB123456C")),
    ("GB", ("AB 12 34 56 C", "AB 12 34 56 C")),
    ("IN", ("2341 2341 2346", "2341 2341 2346")),
    ("IN", ("2341-2341-2346", "2341-2341-2346")),
    ("IT", ("RSSMRA85T10A562S", "RSSMRA85T10A562S")),
    ("IT", ("rssmra85t10a562s", "rssmra85t10a562s")),
    ("PL", ("44051401359", "44051401359")),
    ("PL", ("02070803628", "02070803628")),
    ("US", ("078-05-1120", "078-05-1120")),
    ("US", ("219-09-9999", "219-09-9999")),
];
