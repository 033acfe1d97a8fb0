# ruff: noqa: E501  (a table of templates)
"""What `headlines` are made of: templates per topic, templates that two topics share, and the pools of their slots."""

from __future__ import annotations

from benchsuite.data.synthetic import words

POOLS: dict[str, tuple[str, ...]] = {
    "country": tuple(words.COUNTRIES),
    "city": tuple(words.CITIES),
    "surname": tuple(words.SURNAMES),
    "person": ("{first} {surname}", "{surname}"),
    "first": tuple(words.WOMEN + words.MEN),
    "agency": ("agency", "report", "officials", "sources", "radio", "witnesses", "analysts"),
    "club": ("{city} {nick}", "{city} {nick}", "{city} United", "{city} City", "the {nick}"),
    "nick": ("Bears", "Bulls", "Eagles", "Falcons", "Giants", "Hawks", "Hornets", "Jets", "Kings", "Lions", "Panthers", "Pirates", "Rangers", "Rockets", "Rovers", "Royals", "Saints", "Sharks", "Stars", "Tigers", "Titans", "Wolves"),
    "event": ("cup final", "open", "grand prix", "marathon", "championship", "semi-final", "derby", "tour", "world cup qualifier", "play-off"),
    "sport": ("tennis", "cricket", "rugby", "hockey", "basketball", "football", "boxing", "swimming", "cycling", "golf", "rowing", "judo"),
    "player": ("striker", "goalkeeper", "captain", "coach", "rookie", "defender", "champion", "sprinter", "pitcher", "quarterback", "batsman", "midfielder"),
    "company": ("{surname} {trade}", "{surname} {trade}", "{surname} and {surname}", "{surname} Group", "{surname} Holdings"),
    "trade": ("Airlines", "Bank", "Brewery", "Cement", "Chemicals", "Energy", "Foods", "Insurance", "Media", "Mining", "Motors", "Oil", "Pharma", "Rail", "Shipping", "Steel", "Stores", "Textiles"),
    "goods": ("cars", "coffee", "copper", "cotton", "crude oil", "gold", "grain", "natural gas", "palm oil", "rubber", "steel", "sugar", "timber", "wheat"),
    "techco": ("{syllable}{ending}", "{syllable}{ending}", "{surname} {lab}"),
    "syllable": ("Alto", "Beta", "Cora", "Data", "Ether", "Fluxa", "Giga", "Hyper", "Inno", "Jet", "Kilo", "Luma", "Meta", "Nano", "Omni", "Pixel", "Quanta", "Robo", "Sila", "Tera", "Ultra", "Velo", "Wave", "Xeno", "Zeta"),
    "ending": ("bit", "byte", "cast", "chip", "core", "graph", "link", "logic", "mind", "net", "phone", "scope", "soft", "tron", "ware"),
    "lab": ("Labs", "Robotics", "Software", "Systems", "Networks"),
    "gadget": ("battery", "browser", "camera", "chip", "drone", "headset", "laptop", "operating system", "phone", "processor", "robot", "search engine", "smart watch", "tablet", "telescope", "virus scanner"),
    "field": ("astronomers", "biologists", "chemists", "engineers", "geologists", "physicists", "programmers", "researchers"),
    "finding": ("a new planet", "a giant squid", "a faster algorithm", "a dinosaur egg", "water on an asteroid", "a gene for memory", "a security hole", "a distant galaxy", "an ancient virus", "a cheaper solar cell", "a new kind of magnet", "a rare beetle"),
    "leader": ("president", "prime minister", "foreign minister", "rebel leader", "king", "opposition leader", "ambassador", "general"),
    "crisis": ("earthquake", "flood", "landslide", "coup", "border clash", "ceasefire", "election", "hostage crisis", "bomb blast", "refugee crisis", "drought", "uprising"),
    "loud": ("hails", "denies", "welcomes", "defends", "questions", "ignores", "praises", "rejects"),
    "percent": ("{few} percent", "{many} percent"),
    "score": ("{few}-1", "{few}-0", "{few}-2", "{many}-{many}"),
    "quarter": ("first quarter", "second quarter", "third quarter", "fourth quarter", "first half", "full year"),
}  # fmt: skip

TEMPLATES: dict[str, tuple[str, ...]] = {
    "World": (
        "{country} {leader} {loud} peace plan for {country}", "{many} dead after {crisis} in {country}", "{leader} of {country} visits {country} for talks",
        "{crisis} leaves thousands homeless near {city}", "UN envoy {person} warns of {crisis} in {country}", "{country} recalls ambassador from {country}",
        "troops from {country} enter {city} as {crisis} spreads", "voters in {country} choose new {leader}", "{country} and {country} sign border treaty",
        "{leader} {surname} resigns over {crisis}", "aid convoy reaches {city} after {crisis}", "protesters fill the streets of {city} after {crisis}",
        "parliament in {country} rejects {leader}", "{country} court jails former {leader} {surname}", "hundreds flee {city} as {crisis} continues",
        "gunmen kill {few} soldiers in {country}", "{person} freed after {few} months as hostage in {country}", "{country} mourns {leader} {person}",
        "peacekeepers leave {country} after {few} years", "{leader} vows to end {crisis} in {city}",
    ),
    "Sports": (
        "{club} beat {club} {score} in {event}", "{player} {person} out for {few} weeks with knee injury", "{person} wins {sport} {event} in {city}",
        "{club} sign {player} {person}", "{player} {surname} scores twice as {club} win", "{city} to host {sport} {event}",
        "{club} sack coach {surname} after {few} defeats", "{person} breaks record at {city} {event}", "{country} beat {country} {score} in {sport} {event}",
        "{player} {person} retires after {many} matches", "late goal by {surname} saves {club}", "{club} held to draw by {club}",
        "{surname} and {surname} reach {sport} {event}", "{player} banned for {few} games after {event}", "{country} name {sport} squad for {event}",
        "{club} end losing streak in {city}", "injured {player} {surname} to miss {event}", "{surname} leads after second round of {sport} {event}",
        "fans celebrate as {club} lift trophy", "{person} takes gold in {sport}",
    ),
    "Business": (
        "{company} profit rises {percent} in {quarter}", "shares of {company} fall {percent}", "{goods} prices in {city} hit {few} year high",
        "{company} to buy {company} for ${few} billion", "{country} central bank raises interest rates by {few} points", "{company} names {person} chief executive",
        "stocks in {city} close lower as {goods} slide", "{company} to close {few} factories in {country}", "unemployment in {country} falls to {percent}",
        "{company} recalls {goods} over safety fears", "{country} exports of {goods} climb {percent}", "auditors question {quarter} results of {company}",
        "{company} plans share sale in {city}", "inflation in {country} slows as {goods} get cheaper", "{company} cuts {quarter} dividend",
        "workers at {company} strike over pay", "merger of {company} and {company} approved", "{company} warns of weak sales in {quarter}",
        "bond yields in {city} jump after {country} budget", "investors sue {company} over {quarter} losses",
    ),
    "Technology": (
        "{techco} unveils faster {gadget}", "{field} in {city} discover {finding}", "{techco} fixes bug in {gadget}", "hackers attack {gadget} made by {techco}",
        "{techco} probe sends first pictures of Mars to {field}", "{techco} {gadget} learns to understand speech", "{field} in {city} build robot from {few} chips",
        "study by {field} in {city} points to {finding}", "{techco} releases free {gadget} update", "{techco} telescope spots {finding}",
        "new {techco} {gadget} doubles battery life, say {field}", "{techco} and {techco} agree on {gadget} standard", "worm spreads through {techco} {gadget} software",
        "{field} at {techco} teach {gadget} to play chess", "{techco} opens source code of its {gadget}", "rocket carries {few} {techco} satellites into orbit",
        "{techco} tests self-driving {gadget}", "{field} at {techco} print {gadget} in three dimensions", "review: the {techco} {gadget} is worth the wait",
        "{person} of {city} wins prize for {finding}",
    ),
}  # fmt: skip

SHARED: tuple[tuple[tuple[str, str], tuple[str, ...]], ...] = (
    (("World", "Sports"), ("{country} to boycott games in {city}", "{leader} of {country} meets {sport} team", "crowd trouble in {city} after {country} match", "security tightened in {city} for {sport} {event}")),
    (("World", "Business"), ("{country} and {country} reach trade deal on {goods}", "{country} threatens tariffs on {goods} from {country}", "{leader} of {country} orders sale of state oil company", "{crisis} in {country} drives up price of {goods}")),
    (("World", "Technology"), ("{country} launches satellite over objections of {country}", "{country} blocks internet during {crisis}", "{country} {leader} opens nuclear laboratory", "{field} from {country} warn of next {crisis}")),
    (("Sports", "Business"), ("{company} to sponsor {club}", "{club} owner {surname} sells stake to {company}", "ticket prices for {event} rise {percent}", "{club} report {quarter} loss")),
    (("Sports", "Technology"), ("{techco} {gadget} to help referees in {sport}", "{player} {surname} trains with {techco} {gadget}", "{field} in {city} study injuries in {sport}", "{sport} fans to watch {event} on {gadget}")),
    (("Business", "Technology"), ("{techco} to cut {many} jobs as {gadget} sales slow", "{techco} shares jump on new {gadget}", "{company} to pay {techco} for {gadget} patent", "{techco} hires {person} to sell {gadget} in {country}")),
)  # fmt: skip

FRAMES = (
    "{text}, {source} says", "{text}: {source}", "update: {text}", "{text} - {source}", "breaking: {text}",
    "{source}: {text}", "{text} (again)", "analysis: {text}", "{text} at last",
)  # fmt: skip
