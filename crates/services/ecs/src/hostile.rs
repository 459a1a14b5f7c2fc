//! Requests made up from the model at random: every operation answers each of them with success or with the caller's
//! fault, never with its own. (The gateway turns a panic into a fault of its own.)

use base::{Ids, SeededIds};
use serde_json::{Map, Value, json};
use wire::schema::{Kind, Member, ShapeSchema};

use crate::testing::{World, scope};

struct Dice(SeededIds);

impl Dice {
    fn below(&self, bound: usize) -> usize {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_le_bytes(bytes) as usize % bound
    }

    fn pick<T: Clone>(&self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "web",
    "app",
    "default",
    "fargate",
    "web:1",
    "web:0",
    "web:99999999999",
    "ghost",
    "256",
    "512",
    "0",
    "-1",
    "99999999999999999999",
    "1 vCPU",
    "0.5 GB",
    "\0",
    "é💧",
    "/",
    "/a",
    "a/b",
    "a=b",
    "80-90",
    "90-80",
    "0-0",
    "65535-65535",
    "arn:",
    "arn:aws:ecs:us-east-1:000000000000:task/default/00000000000000000000000000000000",
    "arn:aws:ecs:us-east-1:000000000000:cluster/default",
    "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1",
    "arn:aws:ecs:::x",
    "arn:aws:iam::000000000000:role/r",
    "00000000000000000000000000000000",
    "attribute:a == b",
    "attribute:",
    "((((",
    "memberOf",
    "cpu",
    "instanceId",
    "attribute:ecs.availability-zone",
    "LATEST",
    "1.4.0",
    "service:x",
    "family:x",
    "aws:x",
    "CMD",
    "CMD-SHELL",
    "NONE",
    "{}",
    "{\"instanceId\": 5}",
    "awslogs-group",
    "containerInsights",
    "enabled",
    "busybox@sha256:x",
    "127.0.0.1",
    "net.ipv4.x",
    "kernel.sem",
    "container-instance",
];

fn value(dice: &Dice, shape: &ShapeSchema, depth: usize) -> Value {
    if dice.below(40) == 0 {
        return dice.pick(&[Value::Null, json!(1), json!("x"), json!([]), json!({}), json!(1e300)]);
    }
    match shape.kind {
        Kind::Boolean => json!(dice.below(2) == 0),
        Kind::Integer | Kind::Long => dice
            .pick(&[
                0,
                1,
                2,
                64,
                80,
                128,
                256,
                512,
                65535,
                65536,
                -1,
                i64::from(i32::MAX),
                i64::from(i32::MIN),
            ])
            .into(),
        Kind::Float | Kind::Double | Kind::Timestamp => {
            dice.pick(&[json!(0.0), json!(1.5e9), json!(-1.0), json!(1e18)])
        }
        Kind::String if !shape.constraints.values.is_empty() && dice.below(20) > 0 => {
            dice.pick(shape.constraints.values).into()
        }
        Kind::List(member) => {
            let length = dice.pick(&[0, 1, 1, 2, 3]);
            Value::Array((0..length).map(|_| value(dice, member.shape, depth + 1)).collect())
        }
        Kind::Map(_, member) => {
            let length = dice.below(3);
            (0..length).map(|_| (dice.pick(TEXTS).to_owned(), value(dice, member.shape, depth + 1))).collect()
        }
        Kind::Structure(structure) => {
            let often = if depth < 2 { 2 } else { 4 };
            let given =
                |member: &&Member| if member.required { dice.below(20) > 0 } else { dice.below(often) == 0 };
            let members = structure.members.iter().filter(given);
            let members: Map<_, _> = members
                .map(|member| (member.wire_name().to_owned(), value(dice, member.shape, depth + 1)))
                .collect();
            Value::Object(members)
        }
        _ => dice.pick(TEXTS).into(),
    }
}

#[tokio::test]
async fn no_request_is_answered_with_a_failure_of_our_own() {
    let world = World::with_fargate().await;
    world.register("web").await;
    let dice = Dice(SeededIds::new(20_261_122));
    let operations: Vec<_> = world
        .gateway
        .tables()
        .flat_map(|table| table.operations())
        .map(|operation| operation.schema())
        .collect();
    let mut answered = 0;
    for round in 0..80 {
        for schema in &operations {
            let body = value(&dice, schema.input, 0);
            let (status, answer) = world.call(schema.name, body.clone()).await;
            assert!(
                status == 200 || status == 400,
                "round {round}: {} {body}: {status} {answer}",
                schema.name
            );
            answered += usize::from(status == 200);
        }
    }
    assert!(answered > 200, "only {answered} requests were fit to be answered: the rest proves little");
    // What came through is whole: every cluster and every task can still be described.
    let snapshot = world.store.snapshot();
    for task in snapshot.scan::<domain::Task>(store::Key::prefix(&scope(), &[]), None) {
        let body = json!({"cluster": task.cluster, "tasks": [task.id]});
        let (status, answer) = world.call("DescribeTasks", body).await;
        assert!(status == 200 || answer.to_string().contains("ClusterNotFound"), "{answer}");
    }
}

#[tokio::test]
async fn no_task_definition_is_answered_with_a_failure_of_our_own() {
    let world = World::new();
    let dice = Dice(SeededIds::new(4));
    let operations = world.gateway.tables().flat_map(|table| table.operations());
    let schema =
        operations.map(|operation| operation.schema()).find(|schema| schema.name == "RegisterTaskDefinition");
    let schema = schema.unwrap();
    for round in 0..1500 {
        let mut body = value(&dice, schema.input, 0);
        // Most often past the first checks, so that the later ones see something too.
        if dice.below(10) > 0 && body.is_object() {
            body["family"] = json!("web");
            let containers = body["containerDefinitions"].as_array_mut().into_iter().flatten();
            for (number, container) in containers.filter(|container| container.is_object()).enumerate() {
                container["name"] = json!(["app", "side", "third"][number % 3]);
                container["image"] = json!("busybox");
                container["memory"] = json!(256);
            }
        }
        let (status, answer) = world.call("RegisterTaskDefinition", body.clone()).await;
        assert!(status == 200 || status == 400, "round {round}: {body}: {status} {answer}");
    }
}
