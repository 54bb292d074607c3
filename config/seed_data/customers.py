"""The demo company's customers: about three hundred names in several languages, the same ones every time."""

from collections.abc import Iterator
from typing import NamedTuple

from accounts.services import NewContact


class Country(NamedTuple):
    """Where some customers live: how their companies, people, streets and towns are called.

    A company is a founder with a trade; streets hold `{}` for the house number; towns are (postal code, town, region).
    """

    code: str
    currency: str
    language: str
    customers: int
    company: str
    founders: str
    trades: str
    forms: str
    people: str
    streets: str
    towns: tuple[tuple[str, str, str], ...]


class Customer(NamedTuple):
    """A customer by name, with the contact who receives the invoices."""

    name: str
    country: Country
    bill_to: NewContact


COUNTRIES = (
    Country(
        "US", "USD", "en", 96, "{founder} {trade} {form}",
        "Alder,Bayside,Cascade,Dogwood,Eastgate,Foxglove,Granite,Harborview,Ironwood,Juniper,Kingfisher,Lakeshore,Magnolia,"
        "Northfield,Oakridge,Pinecrest,Quarry Hill,Redwood,Silverbrook,Tidewater,Umber,Valley Forge,Westwind,Yellowstone",
        "Analytics,Dental Group,Freight,Hospitality,Interiors,Legal Partners,Outfitters,Robotics",
        "Inc.,LLC,Corp.", "Ada Miller,Ben Carter,Chloe Nguyen,Daniel Ortiz,Emma Johnson,Frank Kowalski,Grace Lee",
        "{} Main Street,{} Oak Avenue,{} Lakeshore Drive,{} Industrial Parkway,{} Mill Road",
        (("97201", "Portland", "OR"), ("80202", "Denver", "CO"), ("60601", "Chicago", "IL"), ("02110", "Boston", "MA"), ("78701", "Austin", "TX")),
    ),
    Country(
        "DE", "EUR", "de", 62, "{founder} {trade} {form}",
        "Albers,Böttcher,Cordes,Dörfler,Eberhardt,Fröhlich,Gräfe,Hübner,Jäger,Köhler,Löffler,Möller,Nölting,Oßwald,Pfeiffer,Rößler,Schäfer",
        "Anlagenbau,Druckerei,Feinkost,Gerätebau,Logistik,Möbelwerke,Verlag",
        "GmbH,AG,GmbH & Co. KG", "Jörg Vogel,Sabine Krüger,Ümit Yıldız,Katrin Groß,Lars Petersen,Anke Weiß",
        "Hafenstraße {},Gartenweg {},Königsallee {},Am Bahnhof {},Mühlengasse {}",
        (("20457", "Hamburg", ""), ("80331", "München", ""), ("50667", "Köln", ""), ("04109", "Leipzig", "")),
    ),
    Country(
        "FR", "EUR", "fr", 40, "{trade} {founder} {form}",
        "Bérard,Chevallier,Delaunay,Étienne,Fournier,Gérard,Lefèvre,Marchand,Noël,Périer,Rivière",
        "Ateliers,Cabinet,Conserverie,Éditions,Librairie,Transports,Verrerie",
        "SAS,SARL,SA", "Hélène Dubois,François Girard,Zoé Lambert,Benoît Rousseau,Maëlle Garnier",
        "{} rue de la République,{} avenue Foch,{} quai des Célestins,{} place de l’Église",
        (("69002", "Lyon", ""), ("75004", "Paris", ""), ("44000", "Nantes", ""), ("67000", "Strasbourg", "")),
    ),
    Country(
        "JP", "JPY", "en", 36, "{founder} {trade} {form}",
        "Aoki,Fujimoto,Hayashi,Ishikawa,Kobayashi,Matsuda,Nakajima,Ōta,Sakura,Tachibana,Yamaguchi",
        "Denki,Seisakusho,Shoji,Sangyo,Bussan", "K.K.,G.K.", "Yuki Tanaka,Haruto Satō,Mei Kimura,Ren Itō,Sora Watanabe",
        "{}-2 Kitahama Chuo-ku,{}-11 Marunouchi Chiyoda-ku,{}-5 Sakae Naka-ku",
        (("541-0041", "Osaka", ""), ("100-0005", "Tokyo", ""), ("460-0008", "Nagoya", "")),
    ),
    Country(
        "NL", "EUR", "en", 20, "{founder} {trade} {form}", "De Boer,Dijkstra,Hoekstra,Van der Meer,Veenstra,Zijlstra",
        "Bloemen,Scheepvaart,Techniek,Vastgoed", "B.V.,N.V.", "Sanne de Vries,Pieter Bakker,Anouk Visser",
        "Herengracht {},Stationsplein {},Havenweg {}", (("1015 BN", "Amsterdam", ""), ("3011 AA", "Rotterdam", "")),
    ),
    Country(
        "ES", "EUR", "en", 14, "{trade} {founder} {form}", "Ibáñez,Muñoz,Núñez,Peñalver,Ruiz",
        "Bodegas,Construcciones,Hoteles", "S.L.,S.A.", "Íñigo Martínez,Lucía Gómez,Álvaro Peña",
        "Calle Mayor {},Paseo del Prado {}", (("28014", "Madrid", ""), ("46001", "Valencia", "")),
    ),
    Country(
        "PL", "EUR", "en", 10, "{founder} {trade} {form}", "Dąbrowski,Łukasik,Świątek,Żukowski", "Budownictwo,Meble,Transport",
        "sp. z o.o.", "Agnieszka Wójcik,Łukasz Zieliński", "ul. Długa {},ul. Piękna {}", (("00-238", "Warszawa", ""), ("80-831", "Gdańsk", "")),
    ),
    Country(
        "GR", "EUR", "en", 6, "{founder} {trade} {form}", "Ελαιώνας,Κύκλωπας,Ωκεανός", "Ναυτιλιακή,Τρόφιμα", "Α.Ε.",
        "Eléni Papadopoúlou,Níkos Georgíou", "Ermoú {},Aristotélous {}", (("105 63", "Athens", ""), ("546 24", "Thessaloniki", "")),
    ),
)  # fmt: skip


def customers() -> Iterator[Customer]:
    """Yield every customer once, country by country."""
    for country in COUNTRIES:
        founders, trades, forms = country.founders.split(","), country.trades.split(","), country.forms.split(",")
        for index in range(country.customers):
            # One trade further each time the founders have all had their turn: no pair comes twice.
            turn, position = divmod(index, len(founders))
            founder, trade = founders[position], trades[(position + turn) % len(trades)]
            name = country.company.format(founder=founder, trade=trade, form=forms[index % len(forms)])
            yield Customer(
                name, country, contact(country, index, f"ap{index + 1}@{country.code.lower()}.customer.example")
            )


def contact(country: Country, index: int, email: str) -> NewContact:
    """Return a person of that country who receives invoices."""
    people, streets = country.people.split(","), country.streets.split(",")
    postal_code, city, region = country.towns[index % len(country.towns)]
    return NewContact(
        name=people[index % len(people)],
        country=country.code,
        email=email,
        street=streets[index % len(streets)].format(index * 7 % 180 + 1),
        postal_code=postal_code,
        city=city,
        region=region,
    )
