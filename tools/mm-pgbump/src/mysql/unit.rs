//! Units of MySQL that the server's own unit names: it would go on starting and stopping with them.

use mm_common::machine::command::Cmd;
use mm_common::mattermost::site::Installation;

use crate::preflight::Seen;

/// What binds a unit to another, the order of starts included.
const BONDS: &str = "--property=BindsTo,Requires,Requisite,PartOf,Wants,After";

/// Looks for them. They are a matter of after the move.
pub(crate) fn look(installation: &Installation) -> Seen {
    let Some(unit) = installation.service.manager.unit() else {
        return Seen::pass("systemd does not run the server");
    };
    let shown = match Cmd::new("systemctl").args(["show", BONDS, unit]).run() {
        Ok(shown) => shown,
        // It stands in the way of nothing.
        Err(error) => return Seen::warn(error.one_line(), format!("look at what {unit} names yourself")),
    };
    // No drop-in takes a dependency away: systemd reads them as additions.
    let hint = format!(
        "after the move, let it name the unit of the target, or none, in its own file, as a drop-in takes none away: systemctl edit --full {unit}"
    );
    Seen::list(&bonds(&shown.text()), &format!("{unit} names none"), Seen::warn, &hint)
}

/// `Requires=mysql.service`, of the lines that `systemctl show` prints.
fn bonds(shown: &str) -> Vec<String> {
    let lines = shown.lines().filter_map(|line| line.split_once('='));
    let each = lines.flat_map(|(bond, units)| units.split_whitespace().map(move |unit| (bond, unit)));
    each.filter(|(_, unit)| is_of_mysql(unit)).map(|(bond, unit)| format!("{bond}={unit}")).collect()
}

/// `mysql`, `mysqld`, `mariadb`, or one of several of them (`mariadb@main`).
fn is_of_mysql(unit: &str) -> bool {
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    let name = name.split('@').next().unwrap_or(name);
    matches!(name, "mysql" | "mysqld" | "mariadb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_unit_names_of_mysql_is_found() {
        let shown = "Requires=system.slice sysinit.target\nRequisite=\nWants=network-online.target\nBindsTo=mysql.service\nPartOf=\n\
                     After=mariadb@main.service network.target mysql.service mysql-exporter.service\n";
        assert_eq!(bonds(shown), ["BindsTo=mysql.service", "After=mariadb@main.service", "After=mysql.service"]);
        assert!(bonds("After=postgresql.service\nBindsTo=\n").is_empty());
    }
}
