//! Traffic that looks like a shop with deliveries: orders with card numbers, e-mail addresses and
//! client addresses, parcels with waybill numbers, errors, and health checks in between.
//!
//! What happens is decided by the seed alone. A [`Deed`] becomes spans either as OTLP's bytes
//! ([`otlp`]) or through the OpenTelemetry SDK ([`sdk`]).

pub mod otlp;
pub mod sdk;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// How many customers come again and again. Few, so that every one's secrets can be looked for.
const CUSTOMERS: usize = 48;

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A string.
    Text(String),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Double(f64),
}

/// Attributes in the order in which they are set.
pub type Attributes = Vec<(&'static str, Value)>;

/// What a span is to its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Work of its own.
    Internal,
    /// It answers a request.
    Server,
    /// It makes a request.
    Client,
    /// It takes a message.
    Consumer,
}

/// One thing that is done, and what is done within.
#[derive(Debug, Clone)]
pub struct Deed {
    /// The span's name.
    pub name: String,
    /// The span's kind.
    pub kind: Kind,
    /// The span's attributes.
    pub attributes: Attributes,
    /// Names and attributes of what happens during it.
    pub events: Vec<(&'static str, Attributes)>,
    /// The message of the error in which it ends.
    pub error: Option<String>,
    /// How long it takes by itself, in microseconds.
    pub micros: u64,
    /// What is done within.
    pub within: Vec<Deed>,
}

impl Deed {
    /// How many spans it makes.
    pub fn spans(&self) -> usize {
        1 + self.within.iter().map(Self::spans).sum::<usize>()
    }

    /// How long it takes with all that is done within, in microseconds.
    pub fn total_micros(&self) -> u64 {
        self.micros + self.within.iter().map(Self::total_micros).sum::<u64>()
    }
}

#[derive(Debug, Clone)]
struct Customer {
    email: String,
    card: String,
    address: String,
}

/// The shop: an endless source of deeds.
#[derive(Debug, Clone)]
pub struct Shop {
    chance: StdRng,
    customers: Vec<Customer>,
    orders: u32,
    checks: i64,
}

impl Shop {
    /// A shop in which everything follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let customers = (0..CUSTOMERS).map(|number| customer(&mut chance, number)).collect();
        Self { chance, customers, orders: 0, checks: 0 }
    }

    /// Every card number and e-mail address that may be sent, as it is written.
    pub fn secrets(&self) -> Vec<String> {
        self.customers.iter().flat_map(|customer| [customer.card.clone(), customer.email.clone()]).collect()
    }

    /// How many health checks there have been; each carries its number as `shop.check`.
    pub fn checks(&self) -> i64 {
        self.checks
    }

    /// The next deed: a health check every fifth time or so, else an order or a delivery.
    pub fn deed(&mut self) -> Deed {
        match self.chance.random_range(0..10) {
            0 | 1 => self.health_check(),
            2..=4 => self.delivery(),
            _ => self.order(),
        }
    }

    /// A load balancer asks whether the shop is alive.
    pub fn health_check(&mut self) -> Deed {
        self.checks += 1;
        let mut deed = deed("GET /health", Kind::Server, 120);
        deed.attributes = vec![
            ("http.request.method", text("GET")),
            ("http.route", text("/health")),
            ("http.response.status_code", Value::Int(200)),
            ("user_agent.original", text("kube-probe/1.31")),
            ("shop.check", Value::Int(self.checks)),
        ];
        deed
    }

    /// Somebody buys something; one card in nine is declined.
    pub fn order(&mut self) -> Deed {
        self.orders += 1;
        let waybill = waybill(self.orders);
        let customer = self.someone();
        let declined = self.chance.random_ratio(1, 9);
        let total = f64::from(self.chance.random_range(500..20_000)) / 100.0;
        let mut order = deed("POST /orders", Kind::Server, self.chance.random_range(900..4_000));
        order.attributes = vec![
            ("http.request.method", text("POST")),
            ("http.route", text("/orders")),
            ("url.full", text(&format!("https://shop.example/orders?waybill={waybill}"))),
            ("client.address", text(&customer.address)),
            ("user.email", text(&customer.email)),
            ("order.total", Value::Double(total)),
            ("waybill.number", text(&waybill)),
            ("http.response.status_code", Value::Int(if declined { 402 } else { 201 })),
        ];
        order.within = vec![self.charge(&customer, declined), self.insert(&customer, &waybill)];
        if declined {
            order.error = Some("payment declined".to_owned());
        }
        order
    }

    /// A courier brings a parcel, or finds nobody at home.
    pub fn delivery(&mut self) -> Deed {
        let waybill = waybill(self.chance.random_range(1..=self.orders.max(1)));
        let customer = self.someone();
        let home = self.chance.random_ratio(4, 5);
        let mut deed = deed("deliver parcel", Kind::Consumer, self.chance.random_range(2_000..9_000));
        deed.attributes = vec![
            ("waybill.number", text(&waybill)),
            ("delivery.courier", text(["north", "south", "harbour"][self.chance.random_range(0..3)])),
            ("delivery.state", text(if home { "handed over" } else { "nobody at home" })),
            ("client.address", text(&customer.address)),
        ];
        let note = format!("parcel {waybill}: mail sent to {}", customer.email);
        deed.events = vec![("customer told", vec![("message", text(&note))])];
        deed
    }

    fn someone(&mut self) -> Customer {
        self.customers[self.chance.random_range(0..CUSTOMERS)].clone()
    }

    fn charge(&mut self, customer: &Customer, declined: bool) -> Deed {
        let mut charge = deed("charge card", Kind::Client, self.chance.random_range(3_000..30_000));
        charge.attributes = vec![
            ("payment.provider", text("acquirer.example")),
            ("payment.card", text(&customer.card)),
            ("server.address", text("api.acquirer.example")),
        ];
        if declined {
            let why = format!("card {} of {} was declined", customer.card, customer.email);
            charge.events = vec![("exception", vec![("exception.message", text(&why))])];
            charge.error = Some(why);
        }
        charge
    }

    fn insert(&mut self, customer: &Customer, waybill: &str) -> Deed {
        let mut insert = deed("INSERT orders", Kind::Client, self.chance.random_range(300..2_500));
        let statement = format!("INSERT INTO orders (waybill, mail) VALUES ('{waybill}', '{}')", customer.email);
        insert.attributes = vec![("db.system.name", text("postgresql")), ("db.query.text", text(&statement))];
        insert
    }
}

fn deed(name: &str, kind: Kind, micros: u64) -> Deed {
    let name = name.to_owned();
    Deed { name, kind, attributes: Vec::new(), events: Vec::new(), error: None, micros, within: Vec::new() }
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn waybill(number: u32) -> String {
    format!("WB-2025-{number:04}")
}

fn customer(chance: &mut StdRng, number: usize) -> Customer {
    const NAMES: [&str; 8] = ["ada", "grace", "alan", "edsger", "barbara", "ken", "radia", "tony"];
    let name = NAMES[number % NAMES.len()];
    Customer {
        email: format!("{name}.{}{number}@mail.example.com", ["lovelace", "hopper", "li"][number % 3]),
        card: card(chance, number),
        address: format!("203.0.113.{}", chance.random_range(1..255)),
    }
}

/// A number of sixteen digits that satisfies Luhn's formula, written as people write them.
fn card(chance: &mut StdRng, number: usize) -> String {
    let mut digits = vec![4];
    digits.extend((0..14).map(|_| chance.random_range(0..10u32)));
    digits.push((10 - luhn_sum(&digits) % 10) % 10);
    let plain: String = digits.iter().filter_map(|digit| char::from_digit(*digit, 10)).collect();
    let groups = |between: &str| [&plain[..4], &plain[4..8], &plain[8..12], &plain[12..]].join(between);
    match number % 3 {
        0 => groups(" "),
        1 => groups("-"),
        _ => plain.clone(),
    }
}

/// The sum of Luhn's formula over all digits but the check digit, which comes after them.
fn luhn_sum(digits: &[u32]) -> u32 {
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    digits.iter().rev().enumerate().map(|(at, digit)| if at % 2 == 0 { doubled(*digit) } else { *digit }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_luhns() {
        // The textbook example 7992739871 has the check digit 3.
        assert_eq!((10 - luhn_sum(&[7, 9, 9, 2, 7, 3, 9, 8, 7, 1]) % 10) % 10, 3);
    }

    #[test]
    fn the_same_seed_is_the_same_shop() {
        let (mut one, mut other) = (Shop::new(7), Shop::new(7));
        for _ in 0..50 {
            assert_eq!(format!("{:?}", one.deed()), format!("{:?}", other.deed()));
        }
    }
}
