"""The word lists that the generators share."""

from __future__ import annotations


def word_list(text: str) -> tuple[str, ...]:
    """The words of a text.

    >>> word_list("oak  elm")
    ('oak', 'elm')
    """
    return tuple(text.split())


WOMEN = word_list("""
Ada Agnes Alice Alma Amara Anika Anna Astrid Aya Bea Bridget Carla Carmen Celia Clara Daphne Delia Dora Edith Elena
Elif Ella Emma Esther Eva Fatima Fiona Flora Freya Gemma Grace Greta Hana Hannah Hazel Heidi Helen Ida Ines Ingrid
Irene Iris Isla Ivy Jana Jane Joan Josie Julia June Kate Kira Laila Lara Leah Lena Lila Lina Lucy Mabel Maria Marta
Maya Meera Mei Mina Mira Molly Nadia Nell Nina Noor Nora Olga Olive Paula Pearl Petra Priya Rita Rosa Ruth Sara Selma
Sofia Stella Susan Tara Tess Thea Tina Uma Vera Wanda Willa Yara Yuki Zara Zoe
""")

MEN = word_list("""
Abel Adam Ali Alan Amir Andre Anton Arlo Asher Axel Basil Ben Boris Bruno Caleb Carl Cedric Cyrus Dan David Dean Diego
Edgar Eli Emil Enzo Eric Ethan Ezra Felix Finn Frank Fred Gabriel George Gus Hans Harry Hassan Henry Hugo Ian Igor
Ivan Jack Jacob James Jasper Jim Joel Jonas Juan Karl Kenji Kofi Lars Leo Liam Louis Luca Luke Magnus Marco Mark
Martin Matteo Max Miles Milo Musa Nathan Ned Nico Noah Omar Oscar Otto Owen Pablo Paul Pedro Peter Philip Rafael Ravi
Rex Robin Rohan Roy Sam Samir Sean Simon Stefan Theo Tim Toby Tom Victor Walter Will Yusuf Zack
""")

SURNAMES = word_list("""
Abbott Ahmed Almeida Andersen Archer Baker Banerjee Barlow Becker Bennett Berg Blake Brandt Brooks Cardoso Carter
Castillo Chen Clarke Cohen Costa Cruz Dahl Davies Delgado Dixon Duarte Dubois Eaton Ellis Farrell Ferrari Fischer
Fletcher Foster Fournier Garcia Garner Gibson Grant Greene Gupta Haas Hansen Harper Hayes Herrera Hoffman Holt Hughes
Ibrahim Ivanov Jansen Jensen Kapoor Keller Khan Kim Kovacs Kruger Larsen Laurent Lee Lindgren Lopez Marsh Martinez
Mason Mendes Meyer Molina Moreau Morgan Moreno Nakamura Navarro Newton Nguyen Novak Okafor Olsen Ortega Osman Palmer
Park Patel Pereira Petrov Porter Quinn Ramos Reyes Rossi Russo Sato Schmidt Silva Singh Sharma Stein Sutton Suzuki
Tanaka Torres Turner Vargas Vega Wagner Walsh Weaver Webb Weiss Wong Wright Yamada Young Zhang Ziegler
""")

PLACE_HEADS = word_list("""
Ash Barn Birch Black Bram Bright Clay Cold Copper Crow Deer Elm Fair Fern Fox Glen Gold Green Hawk Hazel Heath High
Holly Iron Kings Lake Lark Long Marsh Mill Moss Nether North Oak Otter Pine Raven Red Rook Rose Salt Silver South
Spring Stone Sum Swan Thorn Upper West White Wind Winter Wolf
""")

PLACE_TAILS = word_list("""
bourne bridge brook bury combe dale den field ford gate ham haven hill holm hurst ley low mere mont mouth port ridge
side stead stow ton wick wood worth
""")

THINGS = word_list("""
accordion atlas banjo basket bell bicycle blanket boat book bottle bowl bracelet broom brush bucket button camera
candlestick cap cart chair chest clock cloak coat coin comb compass crate cup cushion drum fiddle flag flute glove
hammer hat helmet horn jacket jar jug kettle key kite knife ladder lamp lantern locket mask medal mirror mug necklace
notebook oar paddle painting parcel pipe pitcher plate pocketknife puppet purse quilt radio ring rope rug saddle scarf
shawl shield shovel sled spoon stool suitcase sword teapot telescope top torch toolbox trumpet trunk umbrella vase
violin wagon watch wheelbarrow whistle wreath
""")

COLOURS = word_list("""
amber black blue bronze brown copper cream crimson golden green grey indigo ivory orange pink purple red scarlet
silver turquoise violet white yellow
""")

CRAFTS = word_list("""
baker barber beekeeper blacksmith boatbuilder bookbinder brewer butcher carpenter cartographer clockmaker cobbler cook
doctor dressmaker farmer ferryman fisherman florist gardener glassblower goldsmith grocer innkeeper jeweller librarian
mason miller miner musician nurse painter plumber postman potter printer roofer saddler sailor schoolteacher shepherd
shopkeeper stonecutter tailor tinker watchmaker weaver woodcutter
""")

ANIMALS = word_list("""
badger blackbird cat crane crow deer dog donkey dove duck falcon ferret finch foal fox frog goat goose hare hawk
hedgehog heron jackdaw kitten lamb magpie mole otter owl parrot pigeon pony puppy rabbit raven robin rooster sparrow
squirrel starling stork swan tortoise turtle weasel wren
""")

FOODS = word_list("""
apples apricots bagels biscuits bread buns butter cakes carrots cheese cherries chestnuts cookies corn dumplings eggs
figs grapes ham honey jam lemons mushrooms noodles nuts oatcakes olives onions oranges pancakes peaches pears peas
pickles pies plums porridge potatoes pudding pumpkins radishes raisins rice rolls soup stew strawberries toast
tomatoes turnips waffles walnuts
""")

COUNTRIES = word_list("""
Albania Algeria Argentina Armenia Australia Austria Bangladesh Belgium Bolivia Brazil Bulgaria Cambodia Canada Chile
China Colombia Croatia Cuba Denmark Ecuador Egypt Estonia Ethiopia Finland France Georgia Germany Ghana Greece Hungary
Iceland India Indonesia Iran Iraq Ireland Israel Italy Jamaica Japan Jordan Kenya Kuwait Latvia Lebanon Libya Malaysia
Mexico Mongolia Morocco Nepal Nigeria Norway Pakistan Panama Peru Poland Portugal Qatar Romania Rwanda Serbia
Singapore Spain Sudan Sweden Syria Thailand Tunisia Turkey Uganda Ukraine Uruguay Venezuela Vietnam Yemen Zambia
""")

CITIES = word_list("""
Accra Adelaide Amsterdam Ankara Athens Auckland Baghdad Baltimore Bangkok Barcelona Beijing Belgrade Berlin Bogota
Boston Brisbane Brussels Bucharest Budapest Cairo Calgary Chicago Cleveland Copenhagen Dakar Dallas Delhi Denver
Detroit Dhaka Dublin Geneva Glasgow Hamburg Hanoi Havana Helsinki Houston Istanbul Jakarta Kabul Karachi Kiev Kingston
Lagos Leeds Lima Lisbon Liverpool London Lyon Madrid Manila Marseille Melbourne Memphis Miami Milan Montreal Moscow
Mumbai Munich Nairobi Naples Oslo Ottawa Paris Phoenix Pittsburgh Prague Quito Riga Rome Rotterdam Santiago Seattle
Seoul Seville Shanghai Sofia Stockholm Sydney Tampa Tehran Tokyo Toronto Tripoli Tunis Turin Valencia Vienna Warsaw
Zagreb Zurich
""")
