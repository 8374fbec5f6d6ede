"""The 22 queries, as somebody who knows pandas writes them.

`pd` is pandas, or what stands in for it; `read` gives a table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Read = Callable[[str], Any]


def q1(pd: Any, read: Read) -> Any:
    line = read("lineitem")
    line = line[line.l_shipdate <= pd.Timestamp("1998-09-02")]
    line["disc_price"] = line.l_extendedprice * (1 - line.l_discount)
    line["charge"] = line.disc_price * (1 + line.l_tax)
    return line.groupby(["l_returnflag", "l_linestatus"], as_index=False).agg(
        sum_qty=("l_quantity", "sum"),
        sum_base_price=("l_extendedprice", "sum"),
        sum_disc_price=("disc_price", "sum"),
        sum_charge=("charge", "sum"),
        avg_qty=("l_quantity", "mean"),
        avg_price=("l_extendedprice", "mean"),
        avg_disc=("l_discount", "mean"),
        count_order=("l_orderkey", "count"),
    )


def q2(pd: Any, read: Read) -> Any:
    part, supplier, partsupp = read("part"), read("supplier"), read("partsupp")
    nation, region = read("nation"), read("region")
    part = part[(part.p_size == 15) & part.p_type.str.endswith("BRASS")]
    europe = region[region.r_name == "EUROPE"].merge(nation, left_on="r_regionkey", right_on="n_regionkey")
    offers = (
        part.merge(partsupp, left_on="p_partkey", right_on="ps_partkey")
        .merge(supplier, left_on="ps_suppkey", right_on="s_suppkey")
        .merge(europe, left_on="s_nationkey", right_on="n_nationkey")
    )
    cheapest = offers.groupby("p_partkey", as_index=False)["ps_supplycost"].min()
    best = offers.merge(cheapest, on=["p_partkey", "ps_supplycost"])
    columns = ["s_acctbal", "s_name", "n_name", "p_partkey", "p_mfgr", "s_address", "s_phone", "s_comment"]
    return (
        best[columns]
        .sort_values(["s_acctbal", "n_name", "s_name", "p_partkey"], ascending=[False, True, True, True])
        .head(100)
    )


def q3(pd: Any, read: Read) -> Any:
    customer, orders, line = read("customer"), read("orders"), read("lineitem")
    day = pd.Timestamp("1995-03-15")
    customer = customer[customer.c_mktsegment == "BUILDING"]
    orders = orders[orders.o_orderdate < day]
    line = line[line.l_shipdate > day]
    joined = customer.merge(orders, left_on="c_custkey", right_on="o_custkey").merge(
        line, left_on="o_orderkey", right_on="l_orderkey"
    )
    joined["revenue"] = joined.l_extendedprice * (1 - joined.l_discount)
    total = joined.groupby(["l_orderkey", "o_orderdate", "o_shippriority"], as_index=False)["revenue"].sum()
    total = total.sort_values(["revenue", "o_orderdate"], ascending=[False, True]).head(10)
    return total[["l_orderkey", "revenue", "o_orderdate", "o_shippriority"]]


def q4(pd: Any, read: Read) -> Any:
    orders, line = read("orders"), read("lineitem")
    orders = orders[(orders.o_orderdate >= "1993-07-01") & (orders.o_orderdate < "1993-10-01")]
    late = line[line.l_commitdate < line.l_receiptdate][["l_orderkey"]].drop_duplicates()
    joined = orders.merge(late, left_on="o_orderkey", right_on="l_orderkey")
    counted = joined.groupby("o_orderpriority").size().reset_index(name="order_count")
    return counted.sort_values("o_orderpriority")


def q5(pd: Any, read: Read) -> Any:
    customer, orders, line = read("customer"), read("orders"), read("lineitem")
    supplier, nation, region = read("supplier"), read("nation"), read("region")
    orders = orders[(orders.o_orderdate >= "1994-01-01") & (orders.o_orderdate < "1995-01-01")]
    joined = (
        region[region.r_name == "ASIA"]
        .merge(nation, left_on="r_regionkey", right_on="n_regionkey")
        .merge(customer, left_on="n_nationkey", right_on="c_nationkey")
        .merge(orders, left_on="c_custkey", right_on="o_custkey")
        .merge(line, left_on="o_orderkey", right_on="l_orderkey")
        .merge(supplier, left_on=["l_suppkey", "n_nationkey"], right_on=["s_suppkey", "s_nationkey"])
    )
    joined["revenue"] = joined.l_extendedprice * (1 - joined.l_discount)
    total = joined.groupby("n_name", as_index=False)["revenue"].sum()
    return total.sort_values("revenue", ascending=False)


def q6(pd: Any, read: Read) -> Any:
    line = read("lineitem")
    wanted = line[
        (line.l_shipdate >= "1994-01-01")
        & (line.l_shipdate < "1995-01-01")
        & line.l_discount.between(0.05, 0.07)
        & (line.l_quantity < 24)
    ]
    return pd.DataFrame({"revenue": [(wanted.l_extendedprice * wanted.l_discount).sum()]})


def q7(pd: Any, read: Read) -> Any:
    supplier, line, orders = read("supplier"), read("lineitem"), read("orders")
    customer, nation = read("customer"), read("nation")
    nation = nation[nation.n_name.isin(["FRANCE", "GERMANY"])][["n_nationkey", "n_name"]]
    line = line[(line.l_shipdate >= "1995-01-01") & (line.l_shipdate <= "1996-12-31")]
    sellers = supplier.merge(
        nation.rename(columns={"n_name": "supp_nation"}), left_on="s_nationkey", right_on="n_nationkey"
    )
    buyers = customer.merge(
        nation.rename(columns={"n_name": "cust_nation"}), left_on="c_nationkey", right_on="n_nationkey"
    )
    joined = (
        sellers[["s_suppkey", "supp_nation"]]
        .merge(line, left_on="s_suppkey", right_on="l_suppkey")
        .merge(orders, left_on="l_orderkey", right_on="o_orderkey")
        .merge(buyers[["c_custkey", "cust_nation"]], left_on="o_custkey", right_on="c_custkey")
    )
    joined = joined[joined.supp_nation != joined.cust_nation]
    joined["l_year"] = joined.l_shipdate.dt.year
    joined["volume"] = joined.l_extendedprice * (1 - joined.l_discount)
    return joined.groupby(["supp_nation", "cust_nation", "l_year"], as_index=False).agg(
        revenue=("volume", "sum")
    )


def q8(pd: Any, read: Read) -> Any:
    part, supplier, line, orders = read("part"), read("supplier"), read("lineitem"), read("orders")
    customer, nation, region = read("customer"), read("nation"), read("region")
    part = part[part.p_type == "ECONOMY ANODIZED STEEL"]
    orders = orders[(orders.o_orderdate >= "1995-01-01") & (orders.o_orderdate <= "1996-12-31")]
    america = nation.merge(region[region.r_name == "AMERICA"], left_on="n_regionkey", right_on="r_regionkey")
    sellers = nation[["n_nationkey", "n_name"]].rename(columns={"n_nationkey": "key", "n_name": "nation"})
    joined = (
        part.merge(line, left_on="p_partkey", right_on="l_partkey")
        .merge(orders, left_on="l_orderkey", right_on="o_orderkey")
        .merge(customer, left_on="o_custkey", right_on="c_custkey")
        .merge(america[["n_nationkey"]], left_on="c_nationkey", right_on="n_nationkey")
        .merge(supplier, left_on="l_suppkey", right_on="s_suppkey")
        .merge(sellers, left_on="s_nationkey", right_on="key")
    )
    joined["o_year"] = joined.o_orderdate.dt.year
    joined["volume"] = joined.l_extendedprice * (1 - joined.l_discount)
    joined["brazil"] = joined.volume.where(joined.nation == "BRAZIL", 0.0)
    total = joined.groupby("o_year", as_index=False)[["brazil", "volume"]].sum()
    total["mkt_share"] = total.brazil / total.volume
    return total[["o_year", "mkt_share"]]


def q9(pd: Any, read: Read) -> Any:
    part, supplier, line = read("part"), read("supplier"), read("lineitem")
    partsupp, orders, nation = read("partsupp"), read("orders"), read("nation")
    joined = (
        part[part.p_name.str.contains("green", regex=False)]
        .merge(line, left_on="p_partkey", right_on="l_partkey")
        .merge(supplier, left_on="l_suppkey", right_on="s_suppkey")
        .merge(partsupp, left_on=["l_suppkey", "l_partkey"], right_on=["ps_suppkey", "ps_partkey"])
        .merge(orders, left_on="l_orderkey", right_on="o_orderkey")
        .merge(nation, left_on="s_nationkey", right_on="n_nationkey")
    )
    joined["o_year"] = joined.o_orderdate.dt.year
    joined["amount"] = (
        joined.l_extendedprice * (1 - joined.l_discount) - joined.ps_supplycost * joined.l_quantity
    )
    total = joined.groupby(["n_name", "o_year"], as_index=False).agg(sum_profit=("amount", "sum"))
    return total.sort_values(["n_name", "o_year"], ascending=[True, False])


def q10(pd: Any, read: Read) -> Any:
    customer, orders, line, nation = read("customer"), read("orders"), read("lineitem"), read("nation")
    orders = orders[(orders.o_orderdate >= "1993-10-01") & (orders.o_orderdate < "1994-01-01")]
    joined = (
        customer.merge(orders, left_on="c_custkey", right_on="o_custkey")
        .merge(line[line.l_returnflag == "R"], left_on="o_orderkey", right_on="l_orderkey")
        .merge(nation, left_on="c_nationkey", right_on="n_nationkey")
    )
    joined["revenue"] = joined.l_extendedprice * (1 - joined.l_discount)
    keys = ["c_custkey", "c_name", "c_acctbal", "c_phone", "n_name", "c_address", "c_comment"]
    total = joined.groupby(keys, as_index=False)["revenue"].sum()
    return total.sort_values(["revenue", "c_custkey"], ascending=[False, True]).head(20)


def q11(pd: Any, read: Read) -> Any:
    partsupp, supplier, nation = read("partsupp"), read("supplier"), read("nation")
    joined = partsupp.merge(supplier, left_on="ps_suppkey", right_on="s_suppkey").merge(
        nation[nation.n_name == "GERMANY"], left_on="s_nationkey", right_on="n_nationkey"
    )
    joined["value"] = joined.ps_supplycost * joined.ps_availqty
    least = joined.value.sum() * 0.0001
    total = joined.groupby("ps_partkey", as_index=False)["value"].sum()
    return total[total.value > least].sort_values(["value", "ps_partkey"], ascending=[False, True])


def q12(pd: Any, read: Read) -> Any:
    orders, line = read("orders"), read("lineitem")
    line = line[
        line.l_shipmode.isin(["MAIL", "SHIP"])
        & (line.l_commitdate < line.l_receiptdate)
        & (line.l_shipdate < line.l_commitdate)
        & (line.l_receiptdate >= "1994-01-01")
        & (line.l_receiptdate < "1995-01-01")
    ]
    joined = orders.merge(line, left_on="o_orderkey", right_on="l_orderkey")
    urgent = joined.o_orderpriority.isin(["1-URGENT", "2-HIGH"])
    joined["high_line_count"] = urgent.astype("int64")
    joined["low_line_count"] = (~urgent).astype("int64")
    return joined.groupby("l_shipmode", as_index=False)[["high_line_count", "low_line_count"]].sum()


def q13(pd: Any, read: Read) -> Any:
    customer, orders = read("customer"), read("orders")
    orders = orders[~orders.o_comment.str.contains("special.*requests")]
    joined = customer.merge(orders, left_on="c_custkey", right_on="o_custkey", how="left")
    counted = joined.groupby("c_custkey", as_index=False).agg(c_count=("o_orderkey", "count"))
    spread = counted.groupby("c_count", as_index=False).size().rename(columns={"size": "custdist"})
    return spread.sort_values(["custdist", "c_count"], ascending=[False, False])


def q14(pd: Any, read: Read) -> Any:
    line, part = read("lineitem"), read("part")
    line = line[(line.l_shipdate >= "1995-09-01") & (line.l_shipdate < "1995-10-01")]
    joined = line.merge(part, left_on="l_partkey", right_on="p_partkey")
    revenue = joined.l_extendedprice * (1 - joined.l_discount)
    promo = revenue.where(joined.p_type.str.startswith("PROMO"), 0.0)
    return pd.DataFrame({"promo_revenue": [100 * promo.sum() / revenue.sum()]})


def q15(pd: Any, read: Read) -> Any:
    line, supplier = read("lineitem"), read("supplier")
    line = line[(line.l_shipdate >= "1996-01-01") & (line.l_shipdate < "1996-04-01")]
    line["revenue"] = line.l_extendedprice * (1 - line.l_discount)
    total = line.groupby("l_suppkey", as_index=False).agg(total_revenue=("revenue", "sum"))
    total["total_revenue"] = total.total_revenue.round(2)
    best = total[total.total_revenue == total.total_revenue.max()]
    joined = supplier.merge(best, left_on="s_suppkey", right_on="l_suppkey")
    return joined[["s_suppkey", "s_name", "s_address", "s_phone", "total_revenue"]].sort_values("s_suppkey")


def q16(pd: Any, read: Read) -> Any:
    partsupp, part, supplier = read("partsupp"), read("part"), read("supplier")
    part = part[
        (part.p_brand != "Brand#45")
        & ~part.p_type.str.startswith("MEDIUM POLISHED")
        & part.p_size.isin([49, 14, 23, 45, 19, 3, 36, 9])
    ]
    bad = supplier[supplier.s_comment.str.contains("Customer.*Complaints")]
    joined = part.merge(partsupp, left_on="p_partkey", right_on="ps_partkey")
    joined = joined[~joined.ps_suppkey.isin(bad.s_suppkey)]
    counted = joined.groupby(["p_brand", "p_type", "p_size"], as_index=False).agg(
        supplier_cnt=("ps_suppkey", "nunique")
    )
    return counted.sort_values(
        ["supplier_cnt", "p_brand", "p_type", "p_size"], ascending=[False, True, True, True]
    )


def q17(pd: Any, read: Read) -> Any:
    line, part = read("lineitem"), read("part")
    part = part[(part.p_brand == "Brand#23") & (part.p_container == "MED BOX")]
    joined = part.merge(line, left_on="p_partkey", right_on="l_partkey")
    average = joined.groupby("p_partkey", as_index=False).agg(average=("l_quantity", "mean"))
    joined = joined.merge(average, on="p_partkey")
    small = joined[joined.l_quantity < 0.2 * joined.average]
    return pd.DataFrame({"avg_yearly": [small.l_extendedprice.sum() / 7.0]})


def q18(pd: Any, read: Read) -> Any:
    customer, orders, line = read("customer"), read("orders"), read("lineitem")
    quantity = line.groupby("l_orderkey", as_index=False).agg(sum_qty=("l_quantity", "sum"))
    joined = (
        quantity[quantity.sum_qty > 300]
        .merge(orders, left_on="l_orderkey", right_on="o_orderkey")
        .merge(customer, left_on="o_custkey", right_on="c_custkey")
    )
    columns = ["c_name", "c_custkey", "o_orderkey", "o_orderdate", "o_totalprice", "sum_qty"]
    return (
        joined[columns]
        .sort_values(["o_totalprice", "o_orderdate", "o_orderkey"], ascending=[False, True, True])
        .head(100)
    )


def q19(pd: Any, read: Read) -> Any:
    line, part = read("lineitem"), read("part")
    line = line[line.l_shipmode.isin(["AIR", "AIR REG"]) & (line.l_shipinstruct == "DELIVER IN PERSON")]
    joined = part.merge(line, left_on="p_partkey", right_on="l_partkey")

    def suits(brand: str, sizes: list[str], least: int, most: int) -> Any:
        return (
            (joined.p_brand == brand)
            & joined.p_container.isin(sizes)
            & joined.l_quantity.between(least, least + 10)
            & joined.p_size.between(1, most)
        )

    wanted = joined[
        suits("Brand#12", ["SM CASE", "SM BOX", "SM PACK", "SM PKG"], 1, 5)
        | suits("Brand#23", ["MED BAG", "MED BOX", "MED PKG", "MED PACK"], 10, 10)
        | suits("Brand#34", ["LG CASE", "LG BOX", "LG PACK", "LG PKG"], 20, 15)
    ]
    return pd.DataFrame({"revenue": [(wanted.l_extendedprice * (1 - wanted.l_discount)).sum()]})


def q20(pd: Any, read: Read) -> Any:
    supplier, nation, partsupp = read("supplier"), read("nation"), read("partsupp")
    part, line = read("part"), read("lineitem")
    line = line[(line.l_shipdate >= "1994-01-01") & (line.l_shipdate < "1995-01-01")]
    shipped = line.groupby(["l_partkey", "l_suppkey"], as_index=False).agg(quantity=("l_quantity", "sum"))
    forest = part[part.p_name.str.startswith("forest")][["p_partkey"]]
    stock = partsupp.merge(forest, left_on="ps_partkey", right_on="p_partkey").merge(
        shipped, left_on=["ps_partkey", "ps_suppkey"], right_on=["l_partkey", "l_suppkey"]
    )
    stock = stock[stock.ps_availqty > 0.5 * stock.quantity][["ps_suppkey"]].drop_duplicates()
    joined = supplier.merge(
        nation[nation.n_name == "CANADA"], left_on="s_nationkey", right_on="n_nationkey"
    ).merge(stock, left_on="s_suppkey", right_on="ps_suppkey")
    return joined[["s_name", "s_address"]].sort_values("s_name")


def q21(pd: Any, read: Read) -> Any:
    supplier, line, orders, nation = read("supplier"), read("lineitem"), read("orders"), read("nation")
    late = line[line.l_receiptdate > line.l_commitdate]
    suppliers = line.groupby("l_orderkey", as_index=False).agg(suppliers=("l_suppkey", "nunique"))
    guilty = late.groupby("l_orderkey", as_index=False).agg(guilty=("l_suppkey", "nunique"))
    joined = (
        late.merge(suppliers[suppliers.suppliers > 1], on="l_orderkey")
        .merge(guilty[guilty.guilty == 1], on="l_orderkey")
        .merge(orders[orders.o_orderstatus == "F"], left_on="l_orderkey", right_on="o_orderkey")
        .merge(supplier, left_on="l_suppkey", right_on="s_suppkey")
        .merge(nation[nation.n_name == "SAUDI ARABIA"], left_on="s_nationkey", right_on="n_nationkey")
    )
    counted = joined.groupby("s_name").size().reset_index(name="numwait")
    return counted.sort_values(["numwait", "s_name"], ascending=[False, True]).head(100)


def q22(pd: Any, read: Read) -> Any:
    customer, orders = read("customer"), read("orders")
    customer["cntrycode"] = customer.c_phone.str.slice(0, 2)
    customer = customer[customer.cntrycode.isin(["13", "31", "23", "29", "30", "18", "17"])]
    average = customer[customer.c_acctbal > 0].c_acctbal.mean()
    rich = customer[customer.c_acctbal > average]
    buyers = orders[["o_custkey"]].drop_duplicates()
    joined = rich.merge(buyers, left_on="c_custkey", right_on="o_custkey", how="left")
    alone = joined[joined.o_custkey.isna()]
    return alone.groupby("cntrycode", as_index=False).agg(
        numcust=("c_custkey", "count"), totacctbal=("c_acctbal", "sum")
    )


QUERIES = {number: globals()[f"q{number}"] for number in range(1, 23)}
